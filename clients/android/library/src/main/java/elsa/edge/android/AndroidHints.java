package elsa.edge.android;

import android.content.Context;
import android.os.Build;
import android.os.PerformanceHintManager;
import android.os.Process;
import elsa.edge.Hints;

/** Android's performance hints: the device learns what a run should take and what it took. From Android 12 on. */
public final class AndroidHints implements Hints {
  private final PerformanceHintManager.Session session;

  private AndroidHints(PerformanceHintManager.Session session) {
    this.session = session;
  }

  /**
   * Returns hints for the calling thread, which must be the one that runs; {@link Hints#NONE} where the device has none.
   *
   * @param budgetMs what a run may take; without a budget there is nothing to hint at
   */
  public static Hints of(Context context, double budgetMs) {
    if (Build.VERSION.SDK_INT < 31 || Double.isInfinite(budgetMs)) return Hints.NONE;
    Object manager = context.getSystemService(Context.PERFORMANCE_HINT_SERVICE);
    if (manager == null) return Hints.NONE;
    int[] threads = {Process.myTid()};
    PerformanceHintManager.Session session =
        ((PerformanceHintManager) manager).createHintSession(threads, (long) (budgetMs * 1e6));
    return session == null ? Hints.NONE : new AndroidHints(session);
  }

  @Override
  public void ran(long tookNs) {
    // Nothing else than a duration above 0 is taken.
    if (tookNs > 0) session.reportActualWorkDuration(tookNs);
  }

  @Override
  public void close() {
    session.close();
  }
}
