package elsa.edge;

/** What is known about one level on one device; null where nothing is. */
public final class LevelFacts {
  public final String name;
  /** Arithmetic relative to the dense network, in [0, 1]. */
  public final double work;
  public final Double p50Ms;
  public final Double p95Ms;
  /** Cost of switching to it beyond one warm run. */
  public final double switchMs;
  public final Double memoryBytes;
  /** Task metric in [0, 1]. */
  public final Double accuracy;

  public LevelFacts(
      String name, double work, Double p50Ms, Double p95Ms, double switchMs, Double memoryBytes, Double accuracy) {
    this.name = name;
    this.work = work;
    this.p50Ms = p50Ms;
    this.p95Ms = p95Ms;
    this.switchMs = switchMs;
    this.memoryBytes = memoryBytes;
    this.accuracy = accuracy;
  }
}
