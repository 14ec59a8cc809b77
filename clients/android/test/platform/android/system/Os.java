package android.system;

public final class Os {
  public static long pageBytes = 4096;

  public static long sysconf(int name) {
    return pageBytes;
  }
}
