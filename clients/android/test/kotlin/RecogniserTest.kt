package elsa.edge.sample

import android.graphics.Bitmap
import elsa.edge.Application
import java.io.File

/** The sample's network on this machine's JVM: `RecogniserTestKt ASSETS KERNELS_FOLDER`. */
fun main(arguments: Array<String>) {
    val application = Application(File(arguments[0]))
    application.info.nativeLibraryDir = arguments[1]
    Recogniser(application).use { recogniser ->
        val photograph = Bitmap()
        photograph.colour = 0xffc02010.toInt()
        val levels = recogniser.run { (1..30).map { look(photograph) } }
        check(levels.all { it.label in 0..9 && it.latencyMs > 0 && it.level in listOf("s80", "s50", "dense") })
        check(levels.map { it.label }.distinct().size <= 3) { "one photograph, one answer a level" }
        println("sample: ${levels.last().label}, ${levels.last().level}, ${levels.last().reason}; ${recogniser.notes}")
    }
}
