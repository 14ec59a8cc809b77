package elsa.edge.sample

import android.content.Context
import android.graphics.Bitmap
import elsa.edge.AdaptiveSession
import elsa.edge.Options
import elsa.edge.Profile
import elsa.edge.Tensor
import elsa.edge.UnavailableException
import elsa.edge.android.AndroidHints
import elsa.edge.android.AndroidProbes
import elsa.edge.android.Assets
import elsa.edge.android.Natives
import elsa.edge.litert.LiteRtEngine
import elsa.edge.ort.OrtEngine

/** What a photograph shows, and how that was found. */
class Seen(val label: Int, val level: String, val latencyMs: Double, val reason: String, val holds: Boolean)

/** The network of `assets/bundle`. Make it and use it in one thread, which is not the one that draws. */
class Recogniser(context: Context) : AutoCloseable {
    /** Sentences about what this device lacks. */
    val notes = mutableListOf<String>()
    private val session: AdaptiveSession
    private val height: Int
    private val width: Int

    init {
        val files = Assets(context.assets, "bundle")
        val options = Options()
        options.profile = Profile.parse(String(files.read("device.yaml")))
        options.probes = AndroidProbes(context)
        options.hints = AndroidHints.of(context, options.profile.policy.budgetMs)
        var kernels: String? = null
        try {
            kernels = Natives.kernels(context)
        } catch (error: UnavailableException) {
            error.message?.let { notes.add(it) }
        }
        val ort = OrtEngine(kernels, context.noBackupFilesDir)
        session = AdaptiveSession.open(files, options, ort, LiteRtEngine { model, threads -> LiteRtModel(model, threads) })
        notes.addAll(session.notes)
        val shape = session.bundle.manifest.inputs[0].shape
        height = (shape[2] ?: 224L).toInt()
        width = (shape[3] ?: 224L).toInt()
    }

    fun look(photograph: Bitmap): Seen {
        val input = session.bundle.manifest.inputs[0].name
        val level = session.level()
        val began = System.nanoTime()
        val outputs = session.run(mapOf(input to Tensor.of(planes(photograph), 1, 3, height.toLong(), width.toLong())))
        val latencyMs = (System.nanoTime() - began) / 1e6
        val scores = outputs.getValue(session.bundle.manifest.outputs[0].name).floats()
        val label = scores.indices.maxBy { scores[it] } ?: 0
        val decision = session.lastDecision()
        return Seen(label, session.bundle.manifest.ladder[level].name, latencyMs, decision.reason, decision.feasible)
    }

    /** Channels first, (value - 127) / 128: what the sample's network was trained with; yours may want another scale. */
    private fun planes(photograph: Bitmap): FloatArray {
        val small = Bitmap.createScaledBitmap(photograph, width, height, true)
        val pixels = IntArray(width * height)
        small.getPixels(pixels, 0, width, 0, 0, width, height)
        val planes = FloatArray(3 * pixels.size)
        for (i in pixels.indices) {
            for (channel in 0..2) {
                val value = pixels[i] shr (16 - 8 * channel) and 255
                planes[channel * pixels.size + i] = (value - 127) / 128f
            }
        }
        return planes
    }

    override fun close() {
        session.close()
    }
}
