package elsa.edge;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;

/** What the oracle answered: inputs and the outputs of every level, from numpy's {@code .npz}. Never unpickles. */
final class Golden {
  /** One batch: its inputs, and one map of outputs per level. */
  static final class Batch {
    final Map<String, Tensor> inputs = new LinkedHashMap<>();
    final List<Map<String, Tensor>> outputs = new ArrayList<>();

    Batch(int levels) {
      for (int level = 0; level < levels; level++) outputs.add(new LinkedHashMap<>());
    }
  }

  private static final int LARGEST_BYTES = 1 << 28;
  private static final int MOST_BATCHES = 9;
  private static final Pattern HEADER =
      Pattern.compile("\\{'descr': '([<|=][fiub][1248])', 'fortran_order': False, 'shape': \\(([0-9, ]*)\\), \\}\\s*");
  private static final Pattern NAME = Pattern.compile("(?:further/(\\d)/)?(?:input|output/(\\d{1,3}))/(.+)\\.npy");

  private Golden() {}

  /**
   * Reads a golden file.
   *
   * @throws BundleException when it is damaged, too large or not one of ours
   */
  static List<Batch> read(byte[] archive, int levels) {
    try {
      return readOrThrow(archive, levels);
    } catch (IOException | RuntimeException error) {
      if (error instanceof ElsaException) throw (ElsaException) error;
      throw new BundleException("The golden file cannot be read (" + error.getMessage() + ").", error);
    }
  }

  private static List<Batch> readOrThrow(byte[] archive, int levels) throws IOException {
    Map<Integer, Batch> batches = new LinkedHashMap<>();
    int left = LARGEST_BYTES;
    try (ZipInputStream zip = new ZipInputStream(new ByteArrayInputStream(archive))) {
      for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
        byte[] bytes = unpack(zip, left);
        left -= bytes.length;
        Matcher name = NAME.matcher(entry.getName());
        if (!name.matches()) throw new IOException("it holds " + entry.getName());
        int place = name.group(1) == null ? 0 : 1 + Integer.parseInt(name.group(1));
        Batch batch = batches.get(place);
        if (batch == null) batches.put(place, batch = new Batch(levels));
        int level = name.group(2) == null ? -1 : Integer.parseInt(name.group(2));
        if (level >= levels) throw new IOException("it has more levels than the ladder");
        (level < 0 ? batch.inputs : batch.outputs.get(level)).put(name.group(3), array(bytes));
      }
    }
    Batch first = batches.get(0);
    if (first == null || batches.size() > MOST_BATCHES) throw new IOException("it has no batch, or too many");
    for (Batch batch : batches.values()) {
      for (Map<String, Tensor> outputs : batch.outputs) {
        boolean whole = !outputs.isEmpty() && outputs.keySet().equals(first.outputs.get(0).keySet());
        if (!whole || !batch.inputs.keySet().equals(first.inputs.keySet())) throw new IOException("it is incomplete");
      }
    }
    return new ArrayList<>(batches.values());
  }

  private static byte[] unpack(ZipInputStream zip, int most) throws IOException {
    byte[] bytes = new byte[4096];
    int length = 0;
    for (int count = zip.read(bytes, 0, bytes.length); count >= 0; ) {
      length += count;
      if (length > most) throw new IOException("it is larger than 256 MB");
      if (length == bytes.length) bytes = Arrays.copyOf(bytes, Math.min(2 * length, most + 1));
      count = zip.read(bytes, length, bytes.length - length);
    }
    return Arrays.copyOf(bytes, length);
  }

  private static Tensor array(byte[] npy) throws IOException {
    ByteBuffer from = ByteBuffer.wrap(npy).order(ByteOrder.LITTLE_ENDIAN);
    byte[] magic = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    if (npy.length < 10 || !Arrays.equals(magic, Arrays.copyOf(npy, 8))) throw new IOException("no array of numpy");
    int start = 10 + (from.getShort(8) & 0xffff);
    if (start > npy.length) throw new IOException("an array is cut short");
    Matcher header = HEADER.matcher(new String(npy, 10, start - 10, StandardCharsets.US_ASCII));
    if (!header.matches()) throw new IOException("an array of another kind than ours");
    List<Long> sizes = new ArrayList<>();
    for (String size : header.group(2).split(",")) if (!size.trim().isEmpty()) sizes.add(Long.valueOf(size.trim()));
    long[] dims = new long[sizes.size()];
    for (int i = 0; i < dims.length; i++) dims[i] = sizes.get(i);
    String code = header.group(1).substring(1);
    String kind = code.charAt(0) == 'f' ? "float" : code.charAt(0) == 'u' ? "uint" : "int";
    String dtype = code.charAt(0) == 'b' ? "bool" : kind + 8 * (code.charAt(1) - '0');
    // Little-endian, as every device that runs Android is.
    ByteBuffer bytes = Tensor.room(npy.length - start);
    bytes.put(npy, start, npy.length - start);
    return Tensor.wrap(dtype, bytes, dims);
  }
}
