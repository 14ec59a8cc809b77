package elsa.edge;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * Files of a bundle as files, for runtimes that map them: where they lie, or checked copies in a private folder.
 *
 * <p>Copies lie below the bundle's identity, so that another bundle never finds them, and are compared again at every
 * opening.
 */
public final class PlacedFiles {
  private final Bundle bundle;
  private final File scratch;
  private final Map<String, File> placed = new HashMap<>();

  public PlacedFiles(Bundle bundle, File scratch) {
    this.bundle = bundle;
    this.scratch = scratch;
  }

  /**
   * Returns a file whose content was compared with the manifest.
   *
   * @throws BundleException when the content is another, or there is no folder for copies
   */
  public File file(String path) {
    File known = placed.get(path);
    if (known != null) return known;
    byte[] bytes = bundle.file(path);
    File file = bundle.folder() == null ? copied(path, bytes) : new File(bundle.folder(), path);
    placed.put(path, file);
    return file;
  }

  private File copied(String path, byte[] bytes) {
    if (scratch == null) {
      throw new BundleException(path + " must lie in a folder, because the runtime maps it: give the engine a private"
          + " folder for a copy (Context.getNoBackupFilesDir()).");
    }
    Path target = scratch.toPath().resolve("elsa-edge").resolve(bundle.identity).resolve(path);
    try {
      if (Files.isRegularFile(target) && Arrays.equals(Files.readAllBytes(target), bytes)) return target.toFile();
      Files.createDirectories(target.getParent());
      Path beside = Files.createTempFile(target.getParent(), "copy", ".tmp");
      Files.write(beside, bytes);
      Files.move(beside, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException error) {
      throw new BundleException(path + " cannot be copied to " + target + " (" + error.getMessage() + ").", error);
    }
    return target.toFile();
  }
}
