package android.os;

public class PowerManager {
  public float getThermalHeadroom(int forecastSeconds) {
    return Float.NaN;
  }
}
