plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "elsa.edge.sample"
    compileSdk = 35

    defaultConfig {
        applicationId = "elsa.edge.sample"
        minSdk = 26
        targetSdk = 35
        versionCode = 1
        versionName = "1.0"
        // Our kernels are for 64-bit ARM; on other devices a variant without them runs.
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }

    // Files that runtimes map must lie in the application as they are.
    androidResources { noCompress += listOf("onnx", "data", "tflite", "npz") }

    // Natives stay inside the application, aligned to pages of 16 KB.
    packaging { jniLibs { useLegacyPackaging = false } }

    buildTypes {
        release { isMinifyEnabled = true }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }

    kotlinOptions { jvmTarget = "1.8" }
}

dependencies {
    implementation(project(":library"))
    implementation(libs.litert)
}
