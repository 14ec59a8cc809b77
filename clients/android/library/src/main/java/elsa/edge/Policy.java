package elsa.edge;

/** What the controller must hold: milliseconds, bytes, fractions. Twin of elsa_edge/control/policy.py, which says more. */
public final class Policy {
  public double budgetMs = Double.POSITIVE_INFINITY;
  public double allowedMissRate = 0.05;
  public int windowRuns = 200;
  public double reserveBytes = 32e6;
  public double hysteresisBytes = 16e6;
  public double pressureLimitPercent = 10;
  public double temperatureLimitC = Double.POSITIVE_INFINITY;
  public double minimumAccuracy = 0;
  public double margin = 0;
  public double upMargin = 0.05;
  public int upAfterRuns = 8;
  public double dwellMs = 500;
  public int discardRuns = 2;
  public double idleGapMs = 2000;
}
