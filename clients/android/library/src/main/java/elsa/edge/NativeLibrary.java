package elsa.edge;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Says what is wrong with a native library before the loader sees it, because the loader's own words help nobody. */
public final class NativeLibrary {
  private static final byte[] ELF = {0x7f, 'E', 'L', 'F'};
  private static final int LOADED = 1;
  private static final int HEAD_BYTES = 4096;

  private NativeLibrary() {}

  /**
   * Returns what is wrong with a library, in one sentence with the remedy, or null.
   *
   * @param pageBytes the size of this device's pages
   * @param machine this device's, as {@link #machineHere} tells it
   */
  public static String problem(File file, long pageBytes, String machine) {
    if (!file.isFile()) return absent(file.getPath(), machine);
    try (InputStream stream = new FileInputStream(file)) {
      return problem(file.getPath(), stream, pageBytes, machine);
    } catch (IOException error) {
      return file + " cannot be read (" + error.getMessage() + ").";
    }
  }

  /** What to say of a library that is not there. */
  public static String absent(String name, String machine) {
    return name + " is missing. Put the library for " + machine + " into the application (jniLibs/" + abi(machine)
        + "/libelsa_nested.so; elsa-edge build --for android does so), or build with --variant ort-switch.";
  }

  /** The same for a library that is read from somewhere, such as an application's package. */
  public static String problem(String name, InputStream stream, long pageBytes, String machine) throws IOException {
    byte[] head = new byte[HEAD_BYTES];
    int length = 0;
    for (int count = stream.read(head); count > 0; count = stream.read(head, length, head.length - length)) {
      length += count;
    }
    if (length < 64 || !Arrays.equals(ELF, Arrays.copyOf(head, 4))) return name + " is no shared library. Copy it again.";
    ByteBuffer header = ByteBuffer.wrap(head, 0, length).order(ByteOrder.LITTLE_ENDIAN);
    String theirs = machineOf(header.getShort(18) & 0xffff);
    if (head[4] != 2 || !theirs.equals(machine)) {
      return name + " is for " + theirs + ", this device is " + machine + ". Take the library of " + abi(machine)
          + ", or build with --variant ort-switch.";
    }
    try {
      long offset = header.getLong(32);
      int size = header.getShort(54) & 0xffff;
      for (int i = 0; i < (header.getShort(56) & 0xffff); i++) {
        int at = Math.toIntExact(offset + (long) i * size);
        long align = header.getLong(at + 48);
        if (header.getInt(at) == LOADED && align < pageBytes) {
          return name + " is aligned to pages of " + align + " bytes, this device has pages of " + pageBytes
              + ". Link it with -Wl,-z,max-page-size=16384 (elsa-edge's own builds are).";
        }
      }
    } catch (IndexOutOfBoundsException | ArithmeticException | BufferUnderflowException error) {
      return name + " is cut short. Copy it again.";
    }
    return null;
  }

  /** This machine, in the words of {@link #problem}. */
  public static String machineHere() {
    String arch = System.getProperty("os.arch", "");
    if (arch.equals("amd64") || arch.equals("x86_64")) return "64-bit x86";
    if (arch.equals("aarch64")) return "64-bit ARM";
    return arch.startsWith("arm") ? "32-bit ARM" : arch;
  }

  private static String machineOf(int number) {
    if (number == 183) return "64-bit ARM";
    if (number == 62) return "64-bit x86";
    if (number == 40) return "32-bit ARM";
    if (number == 3) return "32-bit x86";
    return "machine " + number;
  }

  private static String abi(String machine) {
    return machine.equals("64-bit x86") ? "x86_64" : "arm64-v8a";
  }
}
