package elsa.edge;

import java.util.Arrays;
import java.util.Map;

/**
 * The numeric contract: {@code max |found - expected| <= max(relative, 8 noise) max |expected|}, per output and level.
 *
 * <p>NaN equals NaN, infinity equals itself, and numbers beyond 1e30 count as infinite.
 */
final class Comparison {
  private static final double LIKE_INFINITY = 1e30;
  private static final double NOISE_FACTOR = 8;

  /** Places whose largest entry along the classes was compared, and in how many it was the same. */
  int places = 0;
  int agreeing = 0;

  private final Manifest manifest;
  private final Manifest.Variant variant;

  Comparison(Manifest manifest, Manifest.Variant variant) {
    this.manifest = manifest;
    this.variant = variant;
  }

  /**
   * Compares the outputs of one level.
   *
   * @throws BundleException when one is outside the contract
   */
  void compare(Map<String, Tensor> found, Map<String, Tensor> expected, int level) {
    String where = variant.name + " at level " + manifest.ladder.get(level).name;
    if (!found.keySet().equals(expected.keySet())) throw new BundleException(where + " has other outputs than expected.");
    for (Map.Entry<String, Tensor> entry : expected.entrySet()) {
      Tensor theirs = found.get(entry.getKey());
      Tensor ours = entry.getValue();
      if (!Arrays.equals(theirs.dims(), ours.dims())) {
        throw new BundleException(where + " answers " + entry.getKey() + " in the shape " + Tensor.text(theirs.dims())
            + "; expected " + Tensor.text(ours.dims()) + ".");
      }
      double[] a = theirs.numbers();
      double[] b = ours.numbers();
      double scale = 0;
      double apart = 0;
      for (int i = 0; i < a.length; i++) {
        double x = finiteOrInfinite(a[i]);
        double y = finiteOrInfinite(b[i]);
        if (isNumber(y)) scale = Math.max(scale, Math.abs(y));
        if (x == y || (Double.isNaN(x) && Double.isNaN(y))) continue;
        apart = isNumber(x) && isNumber(y) ? Math.max(apart, Math.abs(x - y)) : Double.POSITIVE_INFINITY;
      }
      double allowed =
          scale * Math.max(variant.relativeTolerance, NOISE_FACTOR * manifest.noise(entry.getKey(), level));
      if (apart > allowed) {
        throw new BundleException(where + " is outside the contract: " + entry.getKey() + " is " + apart
            + " away from what was built, allowed are " + allowed + ". Build the bundle again, or another variant.");
      }
      agree(a, b, ours.dims(), entry.getKey());
    }
  }

  /**
   * Ends a level.
   *
   * @throws BundleException when a variant that is not exact agrees too seldom
   */
  void end(int level) {
    if (variant.minimumAgreement != null && places > 0 && agreeing < variant.minimumAgreement * places) {
      throw new BundleException(variant.name + " at level " + manifest.ladder.get(level).name + " names the same class in "
          + agreeing + " of " + places + " places; " + variant.minimumAgreement + " of them must agree.");
    }
    places = 0;
    agreeing = 0;
  }

  private void agree(double[] found, double[] expected, long[] dims, String output) {
    Integer told = manifest.classAxes == null ? Integer.valueOf(dims.length - 1) : manifest.classAxes.get(output);
    if (told == null || told < 1 || told >= dims.length || dims[told] < 2 || found.length == 0) return;
    int classes = (int) dims[told];
    int stride = 1;
    for (int axis = told + 1; axis < dims.length; axis++) stride *= (int) dims[axis];
    for (int begin = 0; begin < found.length; begin += classes * stride) {
      for (int offset = 0; offset < stride; offset++) {
        places++;
        boolean same =
            largest(found, begin + offset, classes, stride) == largest(expected, begin + offset, classes, stride);
        if (same) agreeing++;
      }
    }
  }

  private static int largest(double[] values, int begin, int count, int stride) {
    int best = 0;
    for (int i = 1; i < count; i++) if (values[begin + i * stride] > values[begin + best * stride]) best = i;
    return best;
  }

  private static boolean isNumber(double value) {
    return !Double.isNaN(value) && !Double.isInfinite(value);
  }

  private static double finiteOrInfinite(double value) {
    return Math.abs(value) > LIKE_INFINITY ? Math.copySign(Double.POSITIVE_INFINITY, value) : value;
  }
}
