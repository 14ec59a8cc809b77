package org.tensorflow.lite;

import java.nio.ByteBuffer;
import java.util.Map;

public final class Interpreter implements AutoCloseable {
  public static class Options {
    public Options setNumThreads(int threads) {
      return this;
    }
  }

  public Interpreter(ByteBuffer model, Options options) {}

  public String[] getSignatureKeys() {
    return new String[0];
  }

  public void runSignature(Map<String, Object> inputs, Map<String, Object> outputs, String signatureKey) {}

  public void resetVariableTensors() {}

  @Override
  public void close() {}
}
