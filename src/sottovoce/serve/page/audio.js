// Samples and the files that hold them.

const HEADER_BYTES = 44;

/** The bytes of a mono 16-bit WAV file of this many samples. */
export const wavBytes = (numSamples) => HEADER_BYTES + 2 * numSamples;

/**
 * A mono 16-bit PCM WAV file.
 * @param {Float32Array} samples in -1..1; values beyond that are clipped
 * @param {number} rate in Hz
 * @returns {Blob}
 */
export function wavOf(samples, rate) {
  const view = new DataView(new ArrayBuffer(wavBytes(samples.length)));
  const ascii = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  ascii(0, "RIFF");
  view.setUint32(4, view.byteLength - 8, true);
  ascii(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of the format chunk
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2, true); // bytes per second
  view.setUint16(32, 2, true); // bytes per frame
  view.setUint16(34, 16, true); // bits per sample
  ascii(36, "data");
  view.setUint32(40, samples.length * 2, true);
  samples.forEach((sample, i) => {
    const clipped = Math.max(-1, Math.min(1, sample));
    view.setInt16(HEADER_BYTES + 2 * i, Math.round(clipped < 0 ? clipped * 32768 : clipped * 32767), true);
  });
  return new Blob([view], { type: "audio/wav" });
}

/** Joins pieces, up to `limit` samples. */
export function joined(pieces, limit) {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const samples = new Float32Array(length);
  let at = 0;
  for (const piece of pieces) {
    samples.set(piece, at);
    at += piece.length;
  }
  return samples.subarray(0, Math.min(length, limit));
}

/** The largest absolute sample, 0..1. */
export function peakOf(samples, from = 0, to = samples.length) {
  let peak = 0;
  for (let i = from; i < to; i++) peak = Math.max(peak, Math.abs(samples[i]));
  return peak;
}

/** The height 0..1 to draw a peak with: 0 at -50 dB and below, steeper for loud sounds, as loudness is perceived. */
export function heightOf(peak) {
  return peak <= 0 ? 0 : Math.min(1, Math.max(0, 1 + (20 * Math.log10(peak)) / 50)) ** 1.6;
}

/**
 * The samples of a file, if the browser can decode it.
 * @returns {Promise<{samples: Float32Array, rate: number, seconds: number} | null>} null if it cannot
 */
export async function decoded(blob) {
  const context = new OfflineAudioContext(1, 1, 44_100);
  try {
    const audio = await context.decodeAudioData(await blob.arrayBuffer());
    const samples = new Float32Array(audio.length);
    for (let channel = 0; channel < audio.numberOfChannels; channel++) {
      audio.getChannelData(channel).forEach((sample, i) => (samples[i] += sample / audio.numberOfChannels));
    }
    return { samples, rate: audio.sampleRate, seconds: audio.duration };
  } catch (error) {
    if (error instanceof DOMException) return null;
    throw error;
  }
}
