package elsa.edge;

import java.util.ArrayList;
import java.util.List;

/** How a session is opened; every field has a default. */
public final class Options {
  /** Returns a monotonic clock in nanoseconds. */
  public interface Clock {
    long nowNs();
  }

  /** Policy and measured table; null: the bundle's own device.yaml. */
  public Profile profile;
  /** The variant to run; null: the profile's first that an engine can run. */
  public String variant;
  public Probes probes = Probes.LINUX;
  public Hints hints = Hints.NONE;
  public Clock clock = System::nanoTime;
  /** Public keys as OpenSSH writes them, one of which must have signed; none: signatures are not looked at. */
  public List<String> trustedKeys = new ArrayList<>();
  /** With keys: the counter of the newest bundle accepted before. */
  public double leastCounter;
}
