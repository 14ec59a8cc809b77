package elsa.edge.sample

import android.app.Activity
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.os.Bundle
import android.widget.Button
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.TextView
import elsa.edge.ElsaException
import java.util.Locale
import java.util.concurrent.Executors

/** Photograph in; label, level, latency and the reason for the level out. */
class MainActivity : Activity() {
    private val worker = Executors.newSingleThreadExecutor()
    private var recogniser: Recogniser? = null
    private lateinit var picture: ImageView
    private lateinit var said: TextView

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        picture = ImageView(this)
        said = TextView(this)
        val choose = Button(this)
        choose.text = "Photograph"
        choose.setOnClickListener { startActivityForResult(Intent(Intent.ACTION_GET_CONTENT).setType("image/*"), 1) }
        val page = LinearLayout(this)
        page.orientation = LinearLayout.VERTICAL
        page.addView(choose)
        page.addView(picture)
        page.addView(said)
        setContentView(page)
        inBackground {
            val opened = Recogniser(this)
            recogniser = opened
            (listOf("Ready.") + opened.notes).joinToString("\n")
        }
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        val address = data?.data ?: return
        val photograph: Bitmap? = contentResolver.openInputStream(address)?.use { BitmapFactory.decodeStream(it) }
        if (photograph == null) {
            said.text = "This is no image that Android reads."
            return
        }
        picture.setImageBitmap(photograph)
        inBackground {
            val seen = recogniser?.look(photograph) ?: return@inBackground "The network is not open."
            val holds = if (seen.holds) "" else "; no level holds the policy"
            String.format(Locale.ROOT, "label %d\nlevel %s\n%.1f ms\n%s%s", seen.label, seen.level, seen.latencyMs, seen.reason, holds)
        }
    }

    override fun onDestroy() {
        worker.execute { recogniser?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    /** Does something in the thread of the network, and shows what it says or what was wrong. */
    private fun inBackground(work: () -> String) {
        worker.execute {
            val sentence = try {
                work()
            } catch (error: ElsaException) {
                error.message
            }
            runOnUiThread { said.text = sentence }
        }
    }
}
