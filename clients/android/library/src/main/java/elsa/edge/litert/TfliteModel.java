package elsa.edge.litert;

import java.nio.ByteBuffer;
import java.util.Map;

/**
 * What this library needs of LiteRT. An application brings it, over {@code org.tensorflow.lite.Interpreter} or
 * {@code CompiledModel}: so it chooses the runtime's version and accelerator. The sample has one of thirty lines.
 */
public interface TfliteModel extends AutoCloseable {
  /** Opens models. */
  interface Loader {
    /**
     * Opens a model.
     *
     * @param model a direct buffer that stays as it is until the model is closed
     */
    TfliteModel open(ByteBuffer model, int threads);
  }

  /**
   * Runs a signature.
   *
   * @param signature its name; null: the file's only one
   * @param inputs direct buffers by the signature's names, in the file's shapes and types
   * @param outputs room for the answers, likewise
   */
  void run(String signature, Map<String, ByteBuffer> inputs, Map<String, ByteBuffer> outputs);

  /** Sets the state of recurrent layers back to zero. */
  void reset();

  @Override
  void close();
}
