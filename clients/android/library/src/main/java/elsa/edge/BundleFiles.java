package elsa.edge;

import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Where the files of a bundle are read: a folder, an application's assets, or something of yours. */
public interface BundleFiles {
  /**
   * Reads one file whole, by its path inside the bundle.
   *
   * @throws IOException when it is not there or cannot be read
   */
  byte[] read(String path) throws IOException;

  /**
   * Returns one file for a runtime that wants it in a direct buffer: mapped where that is possible.
   *
   * @throws IOException when it is not there or cannot be read
   */
  default ByteBuffer map(String path) throws IOException {
    byte[] bytes = read(path);
    ByteBuffer direct = ByteBuffer.allocateDirect(bytes.length).order(ByteOrder.nativeOrder());
    direct.put(bytes).flip();
    return direct;
  }

  /** The folder in which all files lie as files; null where there is none. Runtimes map them instead of copying. */
  default File folder() {
    return null;
  }
}
