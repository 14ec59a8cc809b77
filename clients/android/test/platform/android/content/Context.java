package android.content;

import android.content.pm.ApplicationInfo;
import android.content.res.AssetManager;

public abstract class Context {
  public static final String ACTIVITY_SERVICE = "activity";
  public static final String POWER_SERVICE = "power";
  public static final String PERFORMANCE_HINT_SERVICE = "performance_hint";

  public abstract Object getSystemService(String name);

  public abstract AssetManager getAssets();

  public abstract ApplicationInfo getApplicationInfo();

  public abstract java.io.File getNoBackupFilesDir();
}
