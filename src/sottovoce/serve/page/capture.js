// Runs in the audio thread: sends the microphone's samples to the page in pieces, and null after the last one.

const PIECE_SAMPLES = 2048;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Float32Array(PIECE_SAMPLES);
    this.filled = 0;
    this.running = true;
    this.port.onmessage = () => {
      this.post();
      this.running = false;
      this.port.postMessage(null);
    };
  }

  post() {
    if (this.filled > 0) this.port.postMessage(this.piece.slice(0, this.filled));
    this.filled = 0;
  }

  process([[channel]]) {
    if (!this.running) return false;
    let read = 0;
    while (channel !== undefined && read < channel.length) {
      const part = channel.subarray(read, read + PIECE_SAMPLES - this.filled);
      this.piece.set(part, this.filled);
      this.filled += part.length;
      read += part.length;
      if (this.filled === PIECE_SAMPLES) this.post();
    }
    return true;
  }
}

registerProcessor("capture", Capture);
