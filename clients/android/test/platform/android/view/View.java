package android.view;

import android.content.Context;

public class View {
  public interface OnClickListener {
    void onClick(View view);
  }

  public View(Context context) {}

  public void setOnClickListener(OnClickListener listener) {}
}
