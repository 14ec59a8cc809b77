package elsa.edge.sample

import elsa.edge.litert.TfliteModel
import org.tensorflow.lite.Interpreter
import java.nio.ByteBuffer

/** LiteRT's interpreter for TFLite variants. Without any, leave this file and the dependency out. */
class LiteRtModel(model: ByteBuffer, threads: Int) : TfliteModel {
    private val interpreter = Interpreter(model, Interpreter.Options().setNumThreads(threads))

    override fun run(signature: String?, inputs: Map<String, ByteBuffer>, outputs: Map<String, ByteBuffer>) {
        val name = signature ?: interpreter.signatureKeys[0]
        interpreter.runSignature(inputs as Map<String, Any>, outputs as Map<String, Any>, name)
    }

    override fun reset() {
        interpreter.resetVariableTensors()
    }

    override fun close() {
        interpreter.close()
    }
}
