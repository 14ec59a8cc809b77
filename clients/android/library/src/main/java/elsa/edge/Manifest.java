package elsa.edge;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What a bundle says of itself; read key by key, and what is not known is refused. docs/format.md explains the keys. */
public final class Manifest {
  private static final int FORMAT = 2;
  private static final int MOST_LEVELS = 255;
  private static final double LARGEST_NOISE = 0.01;
  private static final List<String> DTYPES =
      Arrays.asList("float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool");

  /** One level of the ladder. */
  public static final class Level {
    public final String name;
    public final double sparsity;
    public final Double density;
    public final Double flopsFraction;
    public final Double accuracy;

    Level(Fields item) {
      name = item.text("name");
      sparsity = item.number("sparsity", 0, Math.nextDown(1.0));
      density = item.maybe("density", 0, 1);
      flopsFraction = item.maybe("flops_fraction", 0, 1);
      accuracy = item.maybe("accuracy", 0, 1);
      item.pass("accuracy_low", "accuracy_high", "samples", "metric");
      item.end();
    }
  }

  /** An input or output. */
  public static final class Port {
    public final String name;
    /** Null where any size fits. */
    public final List<Long> shape;
    public final String dtype;

    Port(Fields item) {
      name = item.text("name");
      shape = shapeOf(item, "shape");
      dtype = dtypeOf(item, "dtype");
      if (item.has("sizes")) {
        int sizes = item.list("sizes").size();
        if (sizes != 0 && sizes != shape.size()) throw item.wrong("sizes", "must have one entry per dimension.");
      }
      item.end();
    }
  }

  /** An input or output of a TFLite file against that of the network. */
  public static final class FilePort {
    public final String name;
    public final List<Long> shape;
    public final String dtype;
    /** Whether the file has the channels last. */
    public final boolean channelsLast;
    public final List<Long> fileShape;
    public final String fileDtype;

    FilePort(Fields item) {
      name = item.text("name");
      shape = shapeOf(item, "shape");
      dtype = dtypeOf(item, "dtype");
      String layout = item.text("layout");
      if (!layout.equals("NHWC") && !layout.equals("same")) throw item.wrong("layout", "must be NHWC or same.");
      channelsLast = layout.equals("NHWC");
      fileShape = shapeOf(item, "file_shape");
      fileDtype = dtypeOf(item, "file_dtype");
      item.end();
    }
  }

  /** One form of the network, for one runtime. */
  public static final class Variant {
    public final String name;
    public final String runtime;
    /** selector, switch, levels, nested, tflite-files, tflite-signatures or other:NAME. */
    public final String kind;
    /** Role to path. */
    public final Map<String, String> files;
    /** Of the kind nested: roles of graphs, the preferred first. */
    public final List<String> choices;
    /** Of TFLite kinds. */
    public final List<FilePort> inputs;
    public final List<FilePort> outputs;
    public final long batch;
    public final boolean stateful;
    public final double relativeTolerance;
    /** For variants that are not exact; null for the others. */
    public final Double minimumAgreement;

    Variant(Fields item, int levels) {
      name = item.text("name");
      runtime = item.text("runtime");
      Map<String, String> paths = new LinkedHashMap<>();
      Fields listed = item.object("files");
      for (Object role : ((Map<?, ?>) item.get("files")).keySet()) {
        paths.put((String) role, pathOf(listed, (String) role));
      }
      files = Collections.unmodifiableMap(paths);
      relativeTolerance = item.numberOr("relative_tolerance", Double.MIN_VALUE, Math.nextDown(1.0), 1e-4);
      minimumAgreement = item.maybe("minimum_agreement", 0, 1);
      if (item.has("level_bytes")) {
        int count = item.list("level_bytes").size();
        if (count != 0 && count != levels) throw item.wrong("level_bytes", "must have one entry per level.");
      }
      item.pass("notes");

      Fields told = item.object("instructions");
      kind = told.text("kind");
      List<String> roles = new ArrayList<>();
      List<FilePort> in = new ArrayList<>();
      List<FilePort> out = new ArrayList<>();
      long batchSize = 1;
      boolean remembers = false;
      if (kind.equals("levels") || kind.equals("tflite-files")) {
        for (int level = 0; level < levels; level++) roles.add("level_" + level);
      } else if (kind.equals("selector") || kind.equals("switch") || kind.equals("tflite-signatures")) {
        roles.add("model");
      } else if (kind.equals("nested")) {
        for (Object choice : told.list("choices")) roles.add(told.text("choices", choice));
        if (roles.isEmpty() || new HashSet<>(roles).size() < roles.size()) {
          throw told.wrong("choices", "must be different names, at least one.");
        }
        if (told.list("nested_layers").size() != levels) {
          throw told.wrong("nested_layers", "must have one entry per level.");
        }
      } else if (kind.startsWith("other:")) {
        told.pass("settings");
      } else if (kind.equals("rerouted")) {
        // The Python session's alone; other variants of the bundle run.
        told.pass("segments", "switch_points");
      } else {
        throw told.wrong("kind", "is unknown to this library: " + kind + ". Update it.");
      }
      choices = Collections.unmodifiableList(kind.equals("nested") ? new ArrayList<>(roles) : new ArrayList<>());
      if (kind.equals("nested")) roles.add("data");
      if (kind.startsWith("tflite-")) {
        batchSize = told.count("batch");
        if (batchSize < 1) throw told.wrong("batch", "must be at least 1.");
        remembers = Boolean.TRUE.equals(told.get("stateful"));
        for (Fields port : told.objects("inputs")) in.add(new FilePort(port));
        for (Fields port : told.objects("outputs")) out.add(new FilePort(port));
      }
      told.end();
      item.end();
      for (String role : roles) {
        if (!files.containsKey(role)) {
          throw new BundleException(name + " is of kind " + kind + " and has no file for " + role + ".");
        }
      }
      inputs = Collections.unmodifiableList(in);
      outputs = Collections.unmodifiableList(out);
      batch = batchSize;
      stateful = remembers;
    }
  }

  /** A file of the bundle. */
  public static final class Entry {
    public final long sizeBytes;
    public final String sha256;

    Entry(Fields item) {
      sizeBytes = item.count("size_bytes");
      sha256 = item.text("sha256");
      if (!sha256.matches("[0-9a-f]{64}")) throw item.wrong("sha256", "must have 64 hexadecimal digits.");
      item.end();
    }
  }

  public final String name;
  public final String device;
  public final List<Level> ladder;
  public final List<Port> inputs;
  public final List<Port> outputs;
  public final List<Variant> variants;
  /** Path of the golden answers. */
  public final String golden;
  public final Map<String, Entry> files;
  /** Rises with every signed release; null where there is none. */
  public final Double counter;
  /** Output to its axis of classes; null where that was not looked for. */
  final Map<String, Integer> classAxes;
  private final Map<String, List<Double>> noise = new LinkedHashMap<>();

  /**
   * Reads a manifest.
   *
   * @throws BundleException with what is wrong
   */
  Manifest(Object value) {
    Fields top = new Fields("manifest.json", value, BundleException::new);
    if (!Double.valueOf(FORMAT).equals(top.get("format"))) {
      throw new BundleException("manifest.json is of another format; this library reads " + FORMAT
          + ". Build the bundle again with elsa-edge build.");
    }
    name = top.text("name");
    device = top.text("device");
    Map<String, Entry> listed = new LinkedHashMap<>();
    for (Fields item : top.objects("files")) {
      String path = pathOf(item, "path");
      if (listed.put(path, new Entry(item)) != null) throw new BundleException(path + " is listed twice.");
    }
    files = Collections.unmodifiableMap(listed);
    List<Level> levels = new ArrayList<>();
    for (Fields item : top.objects("ladder")) levels.add(new Level(item));
    ladder = Collections.unmodifiableList(levels);
    checkLadder();
    inputs = ports(top, "inputs");
    outputs = ports(top, "outputs");
    List<Variant> forms = new ArrayList<>();
    for (Fields item : top.objects("variants")) forms.add(new Variant(item, levels.size()));
    variants = Collections.unmodifiableList(forms);
    if (variants.isEmpty()) throw new BundleException("The bundle has no variant.");
    Set<String> names = new HashSet<>();
    for (Variant variant : variants) {
      if (!names.add(variant.name)) throw new BundleException("Two variants have the same name.");
      for (String path : variant.files.values()) requireListed(path);
    }
    golden = pathOf(top, "golden");
    requireListed(golden);
    counter = top.has("counter") ? Double.valueOf(top.count("counter")) : null;
    classAxes = axesOf(top);
    readNoise(top);
    Fields versions = top.object("versions");
    for (Object key : ((Map<?, ?>) top.get("versions")).keySet()) versions.text((String) key);
    top.pass("provenance");
    top.end();
  }

  /** The network's own noise at an output and level, relative to the output's scale. */
  double noise(String output, int level) {
    List<Double> told = noise.get(output);
    return told == null ? 0 : told.get(level);
  }

  private void checkLadder() {
    if (ladder.isEmpty() || ladder.size() > MOST_LEVELS) {
      throw new BundleException("The ladder must have 1 to " + MOST_LEVELS + " levels, found " + ladder.size() + ".");
    }
    Set<String> names = new HashSet<>();
    double before = 1;
    for (Level level : ladder) {
      if (!names.add(level.name)) throw new BundleException("Two levels have the same name, " + level.name + ".");
      if (level.sparsity >= before) throw new BundleException("The sparsity of the levels must fall.");
      before = level.sparsity;
    }
  }

  private void requireListed(String path) {
    if (!files.containsKey(path)) throw new BundleException(path + " is used but not in the list of files.");
  }

  private void readNoise(Fields top) {
    if (top.get("noise") == null) return;
    Fields told = top.object("noise");
    for (Object key : ((Map<?, ?>) top.get("noise")).keySet()) {
      List<Double> row = new ArrayList<>();
      for (Object item : told.list((String) key)) {
        if (!(item instanceof Double) || !((Double) item >= 0 && (Double) item <= LARGEST_NOISE)) {
          throw told.wrong((String) key, "must be numbers from 0 to " + LARGEST_NOISE + ".");
        }
        row.add((Double) item);
      }
      if (row.size() != ladder.size()) throw told.wrong((String) key, "must have one entry per level.");
      noise.put((String) key, row);
    }
  }

  private static Map<String, Integer> axesOf(Fields top) {
    if (top.get("class_axes") == null) return null;
    Fields told = top.object("class_axes");
    Map<String, Integer> axes = new LinkedHashMap<>();
    for (Object key : ((Map<?, ?>) top.get("class_axes")).keySet()) {
      axes.put((String) key, told.intOr((String) key, 1, 15, 1));
    }
    return axes;
  }

  private static List<Port> ports(Fields top, String key) {
    List<Port> found = new ArrayList<>();
    Set<String> names = new HashSet<>();
    for (Fields item : top.objects(key)) {
      Port port = new Port(item);
      if (!names.add(port.name)) throw top.wrong(key, "has the name " + port.name + " twice.");
      found.add(port);
    }
    if (found.isEmpty()) throw top.wrong(key, "must have at least one entry.");
    return Collections.unmodifiableList(found);
  }

  private static List<Long> shapeOf(Fields item, String key) {
    List<Long> shape = new ArrayList<>();
    for (Object size : item.list(key)) shape.add(size == null ? null : Long.valueOf(item.count(key, size)));
    return Collections.unmodifiableList(shape);
  }

  private static String dtypeOf(Fields item, String key) {
    String dtype = item.text(key);
    if (!DTYPES.contains(dtype)) throw item.wrong(key, "must be one of " + DTYPES + ".");
    return dtype;
  }

  /** Accepts only plain relative paths: not absolute, no {@code ..}, backslash, drive, scheme, query or fragment. */
  private static String pathOf(Fields item, String key) {
    String path = item.text(key);
    boolean plain = !path.matches(".*[\\\\:?#%\\p{Cntrl}].*") && path.indexOf('\n') < 0;
    for (String part : path.split("/", -1)) plain &= !part.isEmpty() && !part.equals(".") && !part.equals("..");
    if (!plain || path.equals("manifest.json") || path.equals("manifest.json.sig")) {
      throw item.wrong(key, "is no path of a file inside the bundle.");
    }
    return path;
  }
}
