package elsa.edge.litert;

import elsa.edge.Bundle;
import elsa.edge.BundleException;
import elsa.edge.Engine;
import elsa.edge.Manifest;
import elsa.edge.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Models of a TFLite variant: one with a signature per level, or one file at a time.
 *
 * <pre>
 * network (N, C, H, W)  --NHWC-->  file (n, H, W, C)        n: the batch the file was made for; N runs in pieces of n
 * network (N, ...)      --same-->  file (n, ...)
 * </pre>
 */
final class LiteRtNetwork implements Engine.Network {
  private final TfliteModel.Loader loader;
  private final Bundle bundle;
  private final Manifest.Variant variant;
  private final int threads;
  private TfliteModel model;
  private String loaded;

  LiteRtNetwork(TfliteModel.Loader loader, Bundle bundle, Manifest.Variant variant, int threads) {
    this.loader = loader;
    this.bundle = bundle;
    this.variant = variant;
    this.threads = threads;
  }

  @Override
  public Map<String, Tensor> run(Map<String, Tensor> inputs, int level) {
    boolean perFile = variant.kind.equals("tflite-files");
    load(perFile ? "level_" + level : "model");
    String signature = perFile ? null : "level_" + level;
    int samples = samplesOf(inputs);
    int batch = (int) variant.batch;
    Map<String, ByteBuffer> whole = new LinkedHashMap<>();
    for (Manifest.FilePort port : variant.outputs) whole.put(port.name, room(port, samples, port.dtype));
    for (int first = 0; first < samples; first += batch) {
      int count = Math.min(batch, samples - first);
      Map<String, ByteBuffer> given = new HashMap<>();
      Map<String, ByteBuffer> found = new HashMap<>();
      for (Manifest.FilePort port : variant.inputs) given.put(port.name, piece(port, inputs.get(port.name), first, count));
      for (Manifest.FilePort port : variant.outputs) found.put(port.name, room(port, batch, port.fileDtype));
      if (variant.stateful) model.reset();
      model.run(signature, given, found);
      for (Manifest.FilePort port : variant.outputs) {
        copy(port, found.get(port.name), port.fileDtype, 0, whole.get(port.name), port.dtype, first, count, false);
      }
    }
    Map<String, Tensor> outputs = new LinkedHashMap<>();
    for (Manifest.FilePort port : variant.outputs) {
      long[] dims = new long[port.shape.size()];
      for (int i = 0; i < dims.length; i++) dims[i] = port.shape.get(i) == null ? samples : port.shape.get(i);
      outputs.put(port.name, Tensor.wrap(port.dtype, whole.get(port.name), dims));
    }
    return outputs;
  }

  @Override
  public void close() {
    if (model != null) model.close();
    model = null;
    loaded = null;
  }

  private void load(String role) {
    if (role.equals(loaded)) return;
    ByteBuffer file = bundle.mapped(variant.files.get(role));
    // The level before goes first: two in memory would defeat the purpose.
    close();
    model = loader.open(file, threads);
    loaded = role;
  }

  private int samplesOf(Map<String, Tensor> inputs) {
    for (Manifest.FilePort port : variant.inputs) {
      int axis = port.shape.indexOf(null);
      if (axis > 0) {
        throw new BundleException(variant.name + " stacks samples along axis " + axis + " of " + port.name
            + "; this library knows only the first. Take another variant.");
      }
      if (axis == 0) return (int) inputs.get(port.name).dims()[0];
    }
    return (int) variant.batch;
  }

  private static int perSample(Manifest.FilePort port) {
    long count = 1;
    for (int i = 1; i < port.fileShape.size(); i++) count *= port.fileShape.get(i);
    return (int) count;
  }

  private static int samplesIn(Manifest.FilePort port, int wanted) {
    if (port.shape.isEmpty()) return 1;
    return port.shape.get(0) == null ? wanted : (int) (long) port.shape.get(0);
  }

  private static ByteBuffer room(Manifest.FilePort port, int samples, String dtype) {
    int bytes = samplesIn(port, samples) * perSample(port) * sizeOf(dtype);
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
  }

  private ByteBuffer piece(Manifest.FilePort port, Tensor tensor, int first, int count) {
    ByteBuffer file = room(port, (int) variant.batch, port.fileDtype);
    copy(port, tensor.bytes(), port.dtype, first, file, port.fileDtype, 0, count, true);
    return file;
  }

  /** Copies samples between the network's order and the file's, and between types. */
  private static void copy(Manifest.FilePort port, ByteBuffer from, String fromType, int fromSample, ByteBuffer to,
      String toType, int toSample, int count, boolean intoFile) {
    int size = perSample(port);
    int samples = port.shape.isEmpty() || port.shape.get(0) != null ? samplesIn(port, 1) : count;
    int firstFrom = samples == count ? fromSample : 0;
    int firstTo = samples == count ? toSample : 0;
    List<Long> file = port.fileShape;
    int channels = port.channelsLast ? (int) (long) file.get(3) : 1;
    int pixels = size / Math.max(1, channels);
    for (int sample = 0; sample < samples; sample++) {
      for (int pixel = 0; pixel < pixels; pixel++) {
        for (int channel = 0; channel < channels; channel++) {
          int first = channel * pixels + pixel;
          int last = pixel * channels + channel;
          int source = (firstFrom + sample) * size + (intoFile ? first : last);
          int target = (firstTo + sample) * size + (intoFile ? last : first);
          move(from, fromType, source, to, toType, target);
        }
      }
    }
  }

  private static void move(ByteBuffer from, String fromType, int source, ByteBuffer to, String toType, int target) {
    int size = sizeOf(fromType);
    if (fromType.equals(toType)) {
      if (size == 4) to.putInt(4 * target, from.getInt(4 * source));
      else if (size == 8) to.putLong(8 * target, from.getLong(8 * source));
      else if (size == 2) to.putShort(2 * target, from.getShort(2 * source));
      else to.put(target, from.get(source));
    } else if (fromType.equals("int64") && toType.equals("int32")) {
      to.putInt(4 * target, Math.toIntExact(from.getLong(8 * source)));
    } else if (fromType.equals("int32") && toType.equals("int64")) {
      to.putLong(8 * target, from.getInt(4 * source));
    } else {
      throw new BundleException("The file wants " + toType + " where the network has " + fromType
          + ", which this library does not convert. Take another variant.");
    }
  }

  private static int sizeOf(String dtype) {
    if (dtype.endsWith("64")) return 8;
    if (dtype.endsWith("32")) return 4;
    return dtype.endsWith("16") ? 2 : 1;
  }
}
