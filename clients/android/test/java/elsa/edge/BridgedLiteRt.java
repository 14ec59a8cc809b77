package elsa.edge;

import elsa.edge.litert.TfliteModel;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** The real LiteRT in a process beside the JVM: its Java library is Android's alone. See litert_bridge.py. */
final class BridgedLiteRt implements TfliteModel.Loader {
  private final String python;
  private final String script;

  BridgedLiteRt(String python, String script) {
    this.python = python;
    this.script = script;
  }

  @Override
  public TfliteModel open(ByteBuffer model, int threads) {
    try {
      Process process =
          new ProcessBuilder(python, script).redirectError(ProcessBuilder.Redirect.to(new java.io.File("/dev/null"))).start();
      Model opened = new Model(process);
      opened.out.write('O');
      opened.send(model);
      return opened;
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static final class Model implements TfliteModel {
    private final Process process;
    private final DataInputStream in;
    private final DataOutputStream out;

    Model(Process process) {
      this.process = process;
      in = new DataInputStream(process.getInputStream());
      out = new DataOutputStream(process.getOutputStream());
    }

    private void send(ByteBuffer bytes) throws IOException {
      byte[] copy = new byte[bytes.capacity()];
      ByteBuffer view = bytes.duplicate();
      view.clear();
      view.get(copy);
      out.writeInt(copy.length);
      out.write(copy);
    }

    private void send(String text) throws IOException {
      send(ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8)));
    }

    @Override
    public void run(String signature, Map<String, ByteBuffer> inputs, Map<String, ByteBuffer> outputs) {
      try {
        out.write('R');
        send(signature == null ? "" : signature);
        out.writeInt(inputs.size());
        for (Map.Entry<String, ByteBuffer> entry : inputs.entrySet()) {
          send(entry.getKey());
          send(entry.getValue());
        }
        out.writeInt(outputs.size());
        for (String name : outputs.keySet()) send(name);
        out.flush();
        for (ByteBuffer into : outputs.values()) {
          byte[] bytes = new byte[in.readInt()];
          in.readFully(bytes);
          into.put(bytes).flip();
        }
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }

    @Override
    public void reset() {}

    @Override
    public void close() {
      process.destroy();
    }
  }
}
