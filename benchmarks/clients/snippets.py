"""The README's lines for applications as whole programs, so that compilers and machines can say whether they are right.

python -m benchmarks.clients.snippets FOLDER       writes Snippet.kt, snippet.cpp and snippet.ts
"""

from __future__ import annotations

import re
from pathlib import Path

import click

README = Path(__file__).resolve().parents[2] / "README.md"
KOTLIN = """import android.content.Context
import elsa.edge.*
import elsa.edge.android.*
import elsa.edge.ort.OrtEngine
import java.io.File

fun snippet(context: Context, pixels: FloatArray) {{
{}
}}

fun main(arguments: Array<String>) {{
    val application = Application(File(arguments[0]))
    application.info.nativeLibraryDir = arguments[1]
    snippet(application, FloatArray(3 * 12 * 12))
}}
"""
CPP = """#include <cstdio>
#include <vector>
{}
int main() {{
  std::vector<float> pixels(3 * 12 * 12);
  {}
  return scores.size() == 10 ? 0 : 1;
}}
"""
TYPESCRIPT = """declare const pixels: Float32Array;
{}"""


def block(language: str) -> str:
    """Return the README's only block in a language."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    return str(code)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    """Write the programs into FOLDER, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Snippet.kt").write_text(KOTLIN.format(block("kotlin")))
    include, _, body = block("cpp").partition("\n")
    (folder / "snippet.cpp").write_text(CPP.format(include, body))
    (folder / "snippet.ts").write_text(TYPESCRIPT.format(block("ts")))


if __name__ == "__main__":
    main()
