package android.os;

public class PerformanceHintManager {
  public static class Session implements AutoCloseable {
    public void reportActualWorkDuration(long actualDurationNanos) {}

    @Override
    public void close() {}
  }

  public Session createHintSession(int[] tids, long initialTargetWorkDurationNanos) {
    return null;
  }
}
