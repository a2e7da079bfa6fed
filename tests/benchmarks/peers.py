"""Runs in an environment of its own: what pitch trackers and transcribers of today hear in recordings. Written for `bench_peers`.

python peers.py FOLDER OUT.json NAME [NAME ...]    FOLDER holds WAV files; OUT gets {NAME: {file: {"s": [...], "hz": [...]}}}, 0 Hz where nothing is heard
"""

import json
import sys
from pathlib import Path

import numpy as np
import soundfile

HOP_S = 0.01
LOWEST_HZ, HIGHEST_HZ = 65.0, 4400.0


def pyin(wave, rate_hz):
    import librosa

    hop = round(HOP_S * rate_hz)
    hz, _, _ = librosa.pyin(wave, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=rate_hz, frame_length=2048, hop_length=hop, fill_na=None)
    return np.arange(len(hz)) * HOP_S, hz


def crepe(size):
    def track(wave, rate_hz):
        import torch
        import torchcrepe

        hz = torchcrepe.predict(
            torch.from_numpy(wave)[None], rate_hz, round(HOP_S * rate_hz), LOWEST_HZ, 2006.0, size,
            decoder=torchcrepe.decode.weighted_argmax, batch_size=512, device="cpu",
        )[0].numpy()  # fmt: skip  # its Viterbi decoder says 2006 Hz everywhere with the librosa of today
        return np.arange(len(hz)) * HOP_S, hz

    return track


def swift_f0(wave, rate_hz):
    from swift_f0 import SwiftF0

    heard = SwiftF0().detect(wave, rate_hz, LOWEST_HZ, 2000.0)
    return heard.timestamps, heard.pitch_hz  # whatever its confidence: the onsets are given


def fcpe(wave, rate_hz):
    import torch
    from torchfcpe import spawn_bundled_infer_model

    model = spawn_bundled_infer_model(device="cpu")
    frames = int(len(wave) / rate_hz / HOP_S) + 1
    hz = model.infer(
        torch.from_numpy(wave)[None, :, None], sr=rate_hz, decoder_mode="local_argmax", threshold=0.006, f0_min=LOWEST_HZ, f0_max=2000,
        interp_uv=False, output_interp_target_length=frames,
    )[0, :, 0].numpy()  # fmt: skip
    return np.arange(frames) * HOP_S, hz


def basic_pitch(wave, rate_hz):
    import tempfile

    from basic_pitch.inference import predict

    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        soundfile.write(file.name, wave, rate_hz)
        _, _, events = predict(file.name)
    times = np.arange(int(len(wave) / rate_hz / HOP_S) + 1) * HOP_S
    hz = np.zeros(len(times))
    for start, end, midi, _, bends in sorted(events, key=lambda event: event[2]):  # the highest of those that sound is the melody
        inside = (times >= start) & (times < end)
        hz[inside] = 440 * 2 ** ((midi - 69 + (np.mean(bends) / 3 if bends else 0)) / 12)
    return times, hz


PEERS = {
    "pyin": pyin, "crepe-tiny": crepe("tiny"), "crepe-full": crepe("full"), "swift-f0": swift_f0, "fcpe": fcpe, "basic-pitch": basic_pitch,
}  # fmt: skip


def main(folder, out, names):
    found = {}
    for name in names:
        found[name] = {}
        for path in sorted(folder.glob("*.wav")):
            wave, rate_hz = soundfile.read(path, dtype="float32")
            try:
                seconds, hz = PEERS[name](wave, rate_hz)
            except Exception as error:  # a peer that does not run is told, and the others go on
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                found.pop(name)
                break
            found[name][path.stem] = {
                "s": np.asarray(seconds).round(4).tolist(),
                "hz": np.asarray(hz, dtype=float).round(3).tolist(),
            }
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
