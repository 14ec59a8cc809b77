package elsa.edge;

import android.app.ActivityManager;
import android.content.Context;
import android.content.pm.ApplicationInfo;
import android.content.res.AssetFileDescriptor;
import android.content.res.AssetManager;
import android.os.PerformanceHintManager;
import android.os.PowerManager;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;

/** An application whose assets lie in a folder. */
public final class Application extends Context {
  public final ApplicationInfo info = new ApplicationInfo();
  final File assets;
  final List<Long> durations = new ArrayList<>();
  float headroom = 0.5f;
  int thermalQuestions = 0;
  boolean isCompressed = false;

  public Application(File assets) {
    this.assets = assets;
  }

  @Override
  public Object getSystemService(String name) {
    if (name.equals(Context.ACTIVITY_SERVICE)) {
      return new ActivityManager() {
        @Override
        public void getMemoryInfo(MemoryInfo into) {
          into.availMem = 900_000_000;
          into.threshold = 200_000_000;
        }
      };
    }
    if (name.equals(Context.POWER_SERVICE)) {
      return new PowerManager() {
        @Override
        public float getThermalHeadroom(int forecastSeconds) {
          thermalQuestions++;
          return headroom;
        }
      };
    }
    return new PerformanceHintManager() {
      @Override
      public Session createHintSession(int[] tids, long initialTargetWorkDurationNanos) {
        return new Session() {
          @Override
          public void reportActualWorkDuration(long actualDurationNanos) {
            durations.add(actualDurationNanos);
          }
        };
      }
    };
  }

  @Override
  public AssetManager getAssets() {
    return new AssetManager() {
      @Override
      public InputStream open(String name) throws IOException {
        return new FileInputStream(new File(assets, name));
      }

      @Override
      public AssetFileDescriptor openFd(String name) throws IOException {
        if (isCompressed) throw new FileNotFoundException("probably compressed");
        return new AssetFileDescriptor(new File(assets, name));
      }
    };
  }

  @Override
  public ApplicationInfo getApplicationInfo() {
    return info;
  }

  @Override
  public File getNoBackupFilesDir() {
    return new File(info.nativeLibraryDir);
  }
}
