package elsa.edge.litert;

import elsa.edge.Bundle;
import elsa.edge.Engine;
import elsa.edge.Manifest;
import elsa.edge.Profile;

/** LiteRT: the kinds tflite-signatures and tflite-files, on a runtime that the application brings. */
public final class LiteRtEngine implements Engine {
  private final TfliteModel.Loader loader;

  public LiteRtEngine(TfliteModel.Loader loader) {
    this.loader = loader;
  }

  @Override
  public String missing(Manifest.Variant variant) {
    boolean ours = variant.runtime.equals("litert") && variant.kind.startsWith("tflite-");
    return ours ? null : "is not for LiteRT";
  }

  @Override
  public Network open(Bundle bundle, Manifest.Variant variant, Profile profile) {
    return new LiteRtNetwork(loader, bundle, variant, profile.threads);
  }
}
