package elsa.edge.android;

import android.content.res.AssetFileDescriptor;
import android.content.res.AssetManager;
import elsa.edge.BundleException;
import elsa.edge.BundleFiles;
import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;

/** A bundle in the application's assets: {@code new Assets(context.getAssets(), "bundle")}. */
public final class Assets implements BundleFiles {
  private static final int CHUNK_BYTES = 1 << 16;

  private final AssetManager assets;
  private final String folder;

  public Assets(AssetManager assets, String folder) {
    this.assets = assets;
    this.folder = folder;
  }

  @Override
  public byte[] read(String path) throws IOException {
    try (InputStream stream = assets.open(folder + "/" + path)) {
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      byte[] chunk = new byte[CHUNK_BYTES];
      for (int count = stream.read(chunk); count >= 0; count = stream.read(chunk)) bytes.write(chunk, 0, count);
      return bytes.toByteArray();
    }
  }

  /** Maps an asset, which must lie in the application as it is. */
  @Override
  public ByteBuffer map(String path) throws IOException {
    AssetFileDescriptor descriptor;
    try {
      descriptor = assets.openFd(folder + "/" + path);
    } catch (FileNotFoundException error) {
      // Android says the same of an asset that is not there: then reading fails with its words.
      assets.open(folder + "/" + path).close();
      throw new BundleException("The asset " + folder + "/" + path + " is compressed inside the application, so it cannot"
          + " be mapped. Add androidResources { noCompress += listOf(\"onnx\", \"data\", \"tflite\", \"npz\") } to the"
          + " application's build.gradle.kts.", error);
    }
    try (AssetFileDescriptor open = descriptor; FileInputStream stream = open.createInputStream()) {
      return stream.getChannel().map(FileChannel.MapMode.READ_ONLY, open.getStartOffset(), open.getLength());
    }
  }
}
