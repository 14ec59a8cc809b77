package elsa.edge;

/** What the caller saw at one moment; null where it saw nothing. */
public final class Observation {
  /** A monotonic clock, at the end of the run. */
  public final double nowMs;
  public final Integer level;
  /** Of the inference, without queueing or pre-processing. */
  public final Double latencyMs;
  public final Double availableBytes;
  public final Double pressurePercent;
  public final Double temperatureC;

  public Observation(
      double nowMs,
      Integer level,
      Double latencyMs,
      Double availableBytes,
      Double pressurePercent,
      Double temperatureC) {
    this.nowMs = nowMs;
    this.level = level;
    this.latencyMs = latencyMs;
    this.availableBytes = availableBytes;
    this.pressurePercent = pressurePercent;
    this.temperatureC = temperatureC;
  }
}
