package elsa.edge.ort;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import elsa.edge.Bundle;
import elsa.edge.BundleException;
import elsa.edge.Engine;
import elsa.edge.InputException;
import elsa.edge.Manifest;
import elsa.edge.PlacedFiles;
import elsa.edge.Profile;
import elsa.edge.Tensor;
import elsa.edge.UnavailableException;
import java.io.File;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;

/** The runtime's sessions of a variant: one for all levels, or one at a time for the level in use. */
final class OrtNetwork implements Engine.Network {
  private final OrtEnvironment environment;
  private final Bundle bundle;
  private final Manifest.Variant variant;
  private final Profile profile;
  private final String kernels;
  private final PlacedFiles placed;
  private final String model;
  private OrtSession session;
  private String loaded;

  OrtNetwork(
      OrtEnvironment environment,
      Bundle bundle,
      Manifest.Variant variant,
      Profile profile,
      String kernels,
      File scratch) {
    this.environment = environment;
    this.bundle = bundle;
    this.variant = variant;
    this.profile = profile;
    this.kernels = kernels;
    placed = new PlacedFiles(bundle, scratch);
    boolean hasChoice = variant.choices.contains(profile.choice);
    if (variant.choices.isEmpty()) model = "model";
    else model = hasChoice ? profile.choice : variant.choices.get(0);
  }

  @Override
  public Map<String, Tensor> run(Map<String, Tensor> inputs, int level) {
    boolean perLevel = variant.kind.equals("levels");
    Map<String, OnnxTensor> given = new HashMap<>();
    try {
      load(perLevel ? "level_" + level : model);
      for (Manifest.Port port : bundle.manifest.inputs) given.put(port.name, toOnnx(inputs.get(port.name)));
      if (!perLevel) given.put("level", OnnxTensor.createTensor(environment, Long.valueOf(level)));
      try (OrtSession.Result result = session.run(given)) {
        Map<String, Tensor> outputs = new LinkedHashMap<>();
        for (Manifest.Port port : bundle.manifest.outputs) {
          OnnxValue value = result.get(port.name).orElse(null);
          if (value == null) throw new BundleException(variant.name + " has no output " + port.name + ".");
          outputs.put(port.name, fromOnnx(value, port.name));
        }
        return outputs;
      }
    } catch (OrtException error) {
      throw new UnavailableException("ONNX Runtime refuses: " + error.getMessage(), error);
    } finally {
      for (OnnxTensor tensor : given.values()) tensor.close();
    }
  }

  @Override
  public void close() {
    if (session == null) return;
    try {
      session.close();
    } catch (OrtException error) {
      throw new UnavailableException("ONNX Runtime cannot close the network: " + error.getMessage(), error);
    } finally {
      session = null;
      loaded = null;
    }
  }

  private void load(String role) throws OrtException {
    if (role.equals(loaded)) return;
    String path = variant.files.get(role);
    boolean hasCompanions = false;
    for (String other : variant.files.keySet()) hasCompanions |= !isModel(other);
    File file = hasCompanions ? placed.file(path) : null;
    for (Map.Entry<String, String> other : variant.files.entrySet()) {
      if (!isModel(other.getKey())) placed.file(other.getValue());
    }
    byte[] bytes = hasCompanions ? null : bundle.file(path);
    // The level before goes first: two in memory would defeat the purpose.
    close();
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      // Only what is fatal: errors come back as sentences.
      options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL);
      options.setIntraOpNumThreads(profile.threads);
      options.setInterOpNumThreads(1);
      options.addConfigEntry("session.intra_op.allow_spinning", "0");
      if (variant.kind.equals("nested")) options.registerCustomOpLibrary(kernels);
      session = file == null ? environment.createSession(bytes, options)
          : environment.createSession(file.getPath(), options);
    }
    loaded = role;
  }

  private boolean isModel(String role) {
    return role.equals("model") || role.startsWith("level_") || variant.choices.contains(role);
  }

  private OnnxTensor toOnnx(Tensor tensor) throws OrtException {
    return OnnxTensor.createTensor(environment, tensor.bytes(), tensor.dims(), typeOf(tensor.dtype));
  }

  private static Tensor fromOnnx(OnnxValue value, String name) {
    if (!(value instanceof OnnxTensor)) throw new BundleException("The output " + name + " is no tensor.");
    OnnxTensor tensor = (OnnxTensor) value;
    ByteBuffer from = tensor.getByteBuffer();
    // A copy: the runtime takes its own back.
    ByteBuffer bytes = ByteBuffer.allocateDirect(from.remaining()).order(from.order());
    bytes.put(from);
    return Tensor.wrap(dtypeOf(tensor.getInfo().type, name), bytes, tensor.getInfo().getShape());
  }

  private static OnnxJavaType typeOf(String dtype) {
    switch (dtype) {
      case "float32":
        return OnnxJavaType.FLOAT;
      case "float64":
        return OnnxJavaType.DOUBLE;
      case "float16":
        return OnnxJavaType.FLOAT16;
      case "int64":
        return OnnxJavaType.INT64;
      case "int32":
        return OnnxJavaType.INT32;
      case "int8":
        return OnnxJavaType.INT8;
      case "uint8":
        return OnnxJavaType.UINT8;
      case "bool":
        return OnnxJavaType.BOOL;
      default:
        throw new InputException("Tensors of type " + dtype + " are not known to this library.");
    }
  }

  private static String dtypeOf(OnnxJavaType type, String name) {
    switch (type) {
      case FLOAT:
        return "float32";
      case DOUBLE:
        return "float64";
      case FLOAT16:
        return "float16";
      case INT64:
        return "int64";
      case INT32:
        return "int32";
      case INT8:
        return "int8";
      case UINT8:
        return "uint8";
      case BOOL:
        return "bool";
      default:
        throw new BundleException("The output " + name + " is of the type " + type + ", unknown to this library.");
    }
  }
}
