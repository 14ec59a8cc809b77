package elsa.edge;

/** What to run next, and how sure that is. */
public final class Decision {
  public final int level;
  /** One of docs/controller.md. */
  public final String reason;
  /** Whether that level is expected to hold the budget and the memory reserve. */
  public final boolean feasible;
  /** Null where nothing is known yet. */
  public final Double predictedMs;
  public final double slowdown;
  /** Share of the window's runs over the budget. */
  public final double missRate;

  Decision(int level, String reason, boolean feasible, Double predictedMs, double slowdown, double missRate) {
    this.level = level;
    this.reason = reason;
    this.feasible = feasible;
    this.predictedMs = predictedMs;
    this.slowdown = slowdown;
    this.missRate = missRate;
  }
}
