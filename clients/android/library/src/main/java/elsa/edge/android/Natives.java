package elsa.edge.android;

import android.content.Context;
import android.content.pm.ApplicationInfo;
import android.os.Build;
import android.system.Os;
import android.system.OsConstants;
import elsa.edge.NativeLibrary;
import elsa.edge.UnavailableException;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/** Finds our kernels inside the application, and says what is wrong with them before the loader sees them. */
public final class Natives {
  private static final String LIBRARY = "libelsa_nested.so";

  private Natives() {}

  /**
   * Returns the name by which the loader finds the kernels.
   *
   * @throws UnavailableException when they are absent, for another processor, or aligned to smaller pages than this
   *     device has; with the remedy
   */
  public static String kernels(Context context) {
    String machine = Build.SUPPORTED_ABIS[0].equals("arm64-v8a") ? "64-bit ARM"
        : Build.SUPPORTED_ABIS[0].equals("x86_64") ? "64-bit x86" : Build.SUPPORTED_ABIS[0];
    String problem;
    try {
      problem = problem(context.getApplicationInfo(), machine, Os.sysconf(OsConstants._SC_PAGESIZE));
    } catch (IOException error) {
      problem = LIBRARY + " cannot be read (" + error.getMessage() + "). Install the application again.";
    }
    if (problem != null) throw new UnavailableException(problem);
    return LIBRARY;
  }

  private static String problem(ApplicationInfo application, String machine, long pageBytes) throws IOException {
    // Unpacked at installation, where the application asks for it.
    File unpacked = new File(application.nativeLibraryDir, LIBRARY);
    if (unpacked.isFile()) {
      try (InputStream stream = new FileInputStream(unpacked)) {
        return NativeLibrary.problem(LIBRARY, stream, pageBytes, machine);
      }
    }
    List<String> packages = new ArrayList<>();
    packages.add(application.sourceDir);
    if (application.splitSourceDirs != null) packages.addAll(Arrays.asList(application.splitSourceDirs));
    for (String path : packages) {
      try (ZipFile zip = new ZipFile(path)) {
        for (String abi : Build.SUPPORTED_ABIS) {
          ZipEntry entry = zip.getEntry("lib/" + abi + "/" + LIBRARY);
          if (entry == null) continue;
          try (InputStream stream = zip.getInputStream(entry)) {
            return NativeLibrary.problem(LIBRARY, stream, pageBytes, machine);
          }
        }
      }
    }
    return NativeLibrary.absent(LIBRARY, machine);
  }
}
