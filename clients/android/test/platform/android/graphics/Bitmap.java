package android.graphics;

public class Bitmap {
  public int colour;

  public static Bitmap createScaledBitmap(Bitmap from, int width, int height, boolean filter) {
    return from;
  }

  public void getPixels(int[] into, int offset, int stride, int x, int y, int width, int height) {
    java.util.Arrays.fill(into, colour);
  }
}
