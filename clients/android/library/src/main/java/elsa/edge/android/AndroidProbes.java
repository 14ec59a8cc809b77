package elsa.edge.android;

import android.app.ActivityManager;
import android.content.Context;
import android.os.Build;
import android.os.PowerManager;
import elsa.edge.Probes;

/**
 * Memory and heat as Android tells them.
 *
 * <p>Free memory is what is left until Android begins to end processes. Heat is told as headroom: 1.0 is where the device
 * throttles severely, and 0.0 is about 30 degrees below; the policy's limit stands for 1.0. From Android 11 on.
 */
public final class AndroidProbes implements Probes {
  private static final double DEGREES_PER_HEADROOM = 30;
  private static final int FORECAST_S = 10;
  /** Asked more often than once a second, Android answers nothing. */
  private static final long INTERVAL_NS = 1_100_000_000L;

  private final ActivityManager activities;
  private final PowerManager power;
  private boolean asked = false;
  private long askedNs;
  private float headroom = Float.NaN;

  public AndroidProbes(Context context) {
    activities = (ActivityManager) context.getSystemService(Context.ACTIVITY_SERVICE);
    power = (PowerManager) context.getSystemService(Context.POWER_SERVICE);
  }

  @Override
  public Double availableBytes() {
    ActivityManager.MemoryInfo memory = new ActivityManager.MemoryInfo();
    activities.getMemoryInfo(memory);
    return (double) Math.max(0, memory.availMem - memory.threshold);
  }

  @Override
  public Double temperatureC(double limitC) {
    if (Build.VERSION.SDK_INT < 30 || Double.isInfinite(limitC)) return null;
    long nowNs = System.nanoTime();
    if (!asked || nowNs - askedNs >= INTERVAL_NS) {
      asked = true;
      askedNs = nowNs;
      headroom = power.getThermalHeadroom(FORECAST_S);
    }
    return Float.isNaN(headroom) ? null : Double.valueOf(limitC - DEGREES_PER_HEADROOM * (1 - headroom));
  }
}
