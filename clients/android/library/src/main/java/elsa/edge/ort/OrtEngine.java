package elsa.edge.ort;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import elsa.edge.Bundle;
import elsa.edge.Engine;
import elsa.edge.Manifest;
import elsa.edge.Profile;
import elsa.edge.UnavailableException;
import java.io.File;
import java.util.Arrays;
import java.util.List;

/** ONNX Runtime: the kinds switch, selector, levels and, with our kernels, nested. */
public final class OrtEngine implements Engine {
  private static final List<String> PLAIN = Arrays.asList("switch", "selector", "levels");

  private final String kernels;
  private final File scratch;

  /** Without our kernels. */
  public OrtEngine() {
    this(null, null);
  }

  /**
   * With our kernels.
   *
   * @param kernels libelsa_nested.so: its path, or its bare name where the loader finds it inside the application
   *     ({@code elsa.edge.android.Natives}); null for none
   * @param scratch a private folder, for models whose weights lie in a second file and do not lie in a folder yet; null:
   *     such bundles must come from a {@code Folder}
   */
  public OrtEngine(String kernels, File scratch) {
    this.kernels = kernels;
    this.scratch = scratch;
  }

  @Override
  public String missing(Manifest.Variant variant) {
    if (!variant.runtime.equals("onnxruntime")) return "is not for ONNX Runtime";
    if (PLAIN.contains(variant.kind)) return null;
    if (!variant.kind.equals("nested")) return "is of the kind " + variant.kind + ", which ONNX Runtime does not run";
    return kernels == null ? "needs libelsa_nested.so" : null;
  }

  @Override
  public Network open(Bundle bundle, Manifest.Variant variant, Profile profile) {
    return new OrtNetwork(environment(), bundle, variant, profile, kernels, scratch);
  }

  /**
   * Returns ONNX Runtime's environment.
   *
   * @throws UnavailableException when its native libraries are not in the application
   */
  private static OrtEnvironment environment() {
    try {
      OrtEnvironment environment = OrtEnvironment.getEnvironment();
      environment.setTelemetry(false);
      return environment;
    } catch (UnsatisfiedLinkError | NoClassDefFoundError | ExceptionInInitializerError | IllegalStateException error) {
      throw new UnavailableException("ONNX Runtime's native libraries cannot be loaded (" + error.getMessage()
          + "). Add com.microsoft.onnxruntime:onnxruntime-android to the application, and keep the libraries of this"
          + " device's ABI in abiFilters.", error);
    } catch (OrtException error) {
      throw new UnavailableException("ONNX Runtime refuses: " + error.getMessage(), error);
    }
  }
}
