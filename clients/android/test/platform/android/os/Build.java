package android.os;

public class Build {
  public static String[] SUPPORTED_ABIS = {"x86_64"};

  public static class VERSION {
    public static int SDK_INT = 35;
  }
}
