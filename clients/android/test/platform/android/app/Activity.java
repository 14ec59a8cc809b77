package android.app;

import android.content.ContentResolver;
import android.content.Context;
import android.content.Intent;
import android.os.Bundle;
import android.view.View;

public abstract class Activity extends Context {
  protected void onCreate(Bundle savedInstanceState) {}

  protected void onActivityResult(int requestCode, int resultCode, Intent data) {}

  protected void onDestroy() {}

  public void setContentView(View view) {}

  public void startActivityForResult(Intent intent, int requestCode) {}

  public final void runOnUiThread(Runnable action) {
    action.run();
  }

  public ContentResolver getContentResolver() {
    return null;
  }

  @Override
  public Object getSystemService(String name) {
    return null;
  }

  @Override
  public android.content.res.AssetManager getAssets() {
    return null;
  }

  @Override
  public android.content.pm.ApplicationInfo getApplicationInfo() {
    return null;
  }

  @Override
  public java.io.File getNoBackupFilesDir() {
    return null;
  }
}
