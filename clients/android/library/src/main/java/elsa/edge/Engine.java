package elsa.edge;

import java.util.Map;

/** A runtime that runs variants: {@code elsa.edge.ort.OrtEngine}, {@code elsa.edge.litert.LiteRtEngine}, or yours. */
public interface Engine {
  /** Why it cannot run a variant, as the end of a sentence; null when it can. */
  String missing(Manifest.Variant variant);

  /** Opens a variant. Files come from {@link Bundle#file}, which has checked them. */
  Network open(Bundle bundle, Manifest.Variant variant, Profile profile);

  /** An opened variant; used by one thread at a time. */
  interface Network extends AutoCloseable {
    Map<String, Tensor> run(Map<String, Tensor> inputs, int level);

    @Override
    void close();
  }
}
