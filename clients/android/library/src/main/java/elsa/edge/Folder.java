package elsa.edge;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/** A bundle in a folder. Links are not followed: one could lead out of it. */
public final class Folder implements BundleFiles {
  private final File folder;

  public Folder(File folder) {
    this.folder = folder;
  }

  @Override
  public byte[] read(String path) throws IOException {
    Path whole = folder.toPath().resolve(path);
    for (Path part = whole; !part.equals(folder.toPath()); part = part.getParent()) {
      if (Files.isSymbolicLink(part)) throw new IOException("it is a link, which could lead out of the bundle");
    }
    if (!Files.isRegularFile(whole, LinkOption.NOFOLLOW_LINKS)) throw new NoSuchFileException(whole.toString());
    return Files.readAllBytes(whole);
  }

  @Override
  public File folder() {
    return folder;
  }
}
