package elsa.edge;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;

/** What the device tells of itself; null where it does not. Android's are in {@code elsa.edge.android}. */
public interface Probes {
  /** Memory that is free for applications. */
  Double availableBytes();

  /**
   * How hot it is, in degrees Celsius.
   *
   * @param limitC the policy's limit, for devices that tell only how near they are to one of their own
   */
  Double temperatureC(double limitC);

  /** Nothing is known: memory and heat decide nothing. */
  Probes NONE = new Probes() {
    @Override
    public Double availableBytes() {
      return null;
    }

    @Override
    public Double temperatureC(double limitC) {
      return null;
    }
  };

  /** Linux: MemAvailable of /proc/meminfo. */
  Probes LINUX = new Probes() {
    @Override
    public Double availableBytes() {
      try {
        byte[] bytes = Files.readAllBytes(Paths.get("/proc/meminfo"));
        for (String line : new String(bytes, StandardCharsets.US_ASCII).split("\n")) {
          if (line.startsWith("MemAvailable:")) return 1024 * Double.parseDouble(line.split("\\s+")[1]);
        }
      } catch (IOException | NumberFormatException error) {
        return null;
      }
      return null;
    }

    @Override
    public Double temperatureC(double limitC) {
      return null;
    }
  };
}
