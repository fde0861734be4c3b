"use strict";
// The player with the heat map over it. Without a video the clock still moves by the timeline.
const Stage = (() => {
  const box = (id) => document.getElementById(id);
  const video = box("video"), canvas = box("heat"), small = document.createElement("canvas");
  let clip = null, address = "", now = 0, heat = null, shown = true, drawn = -1, wait = false, listener = () => {};

  // black to yellow over purple and red: lightness grows with the value
  const STOPS = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];
  const COLOURS = Array.from({ length: 256 }, (_, v) => {
    const at = (v / 255) * (STOPS.length - 1), i = Math.min(Math.floor(at), STOPS.length - 2);
    return STOPS[i].map((c, k) => Math.round(c + (at - i) * (STOPS[i + 1][k] - c)));
  });

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const playable = () => clip !== null && clip.player.kind !== "none" && !box("stage").classList.contains("off");

  function open(id, next, onTime) {
    clip = next;
    listener = onTime;
    now = 0;
    drawn = -1;
    heat = clip.heat ? { ...clip.heat, bytes: bytes(clip.heat.data) } : null;
    video.pause();
    if (address) URL.revokeObjectURL(address);
    address = "";
    box("stage").classList.remove("off", "bare");
    box("stage").style.aspectRatio = "";
    box("no-video").hidden = true;
    box("heat-toggle").hidden = heat === null;
    if (clip.player.kind === "embedded") {
      address = URL.createObjectURL(new Blob([bytes(box(`media-${id}`).textContent)], { type: "video/mp4" }));
      video.src = address;
    } else if (clip.player.kind === "linked") video.src = clip.player.src;
    else {
      video.removeAttribute("src");
      video.load();
      off(clip.player.note);
    }
    show(shown);
  }

  // nothing to play: says why, and leaves room for the heat map alone
  function off(reason) {
    box("stage").classList.add("off");
    box("no-video").textContent = reason;
    box("no-video").hidden = false;
    if (heat) {
      box("stage").classList.add("bare");
      box("stage").style.aspectRatio = `${heat.columns} / ${heat.rows}`;
    }
    box("play").disabled = box("sound").disabled = true;
    paint(true);
  }

  function ready() {
    box("play").disabled = box("sound").disabled = false;
    paint(true);
  }

  function seek(t) {
    now = Math.min(Math.max(t, 0), clip.duration);
    // a hair further: a time just at a frame's border shows that frame, not the one before
    if (playable() && clip.unit === "s") {
      wait = true;
      video.currentTime = Math.min(now + 1e-4, Number.isFinite(video.duration) ? video.duration : now);
    }
    paint();
    listener(now);
  }

  function follow() {
    if (!clip || clip.unit !== "s" || wait || !playable()) return;
    const t = Math.min(video.currentTime, clip.duration);
    if (Math.abs(t - now) > 2e-4) {
      now = t;
      paint();
      listener(now);
    }
  }

  function loop() {
    follow();
    if (!video.paused && !video.ended) requestAnimationFrame(loop);
  }

  function toggle() {
    if (!playable()) return;
    if (!video.paused) return video.pause();
    if (video.ended || now >= clip.duration - 0.02) seek(0);
    video.play().catch(() => {}); // a new source or a pause came in between
  }

  function label() {
    box("play").textContent = video.paused ? "Play" : "Pause";
    box("sound").textContent = video.muted ? "Sound" : "Mute";
    box("sound").setAttribute("aria-pressed", String(video.muted));
  }

  // the map nearest in time, over the picture itself (not over the bars beside it)
  function paint(again = false) {
    const visible = heat !== null && shown;
    canvas.hidden = !visible;
    if (!visible) return;
    let low = 0, high = heat.time.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (heat.time[middle] < now) low = middle + 1; else high = middle;
    }
    if (low > 0 && now - heat.time[low - 1] <= heat.time[low] - now) low--;
    if (low === drawn && !again) return;
    drawn = low;
    canvas.dataset.map = low;
    const size = heat.rows * heat.columns, stage = box("stage").getBoundingClientRect();
    small.width = heat.columns;
    small.height = heat.rows;
    const image = new ImageData(heat.columns, heat.rows);
    for (let i = 0; i < size; i++) {
      const value = heat.bytes[low * size + i];
      image.data.set(COLOURS[value], 4 * i);
      image.data[4 * i + 3] = box("stage").classList.contains("bare") ? 255 : Math.round(0.75 * value);
    }
    small.getContext("2d").putImageData(image, 0, 0);
    const bare = box("stage").classList.contains("bare") || !video.videoWidth;
    const scale = bare ? 1 : Math.min(stage.width / video.videoWidth, stage.height / video.videoHeight);
    const width = bare ? stage.width : video.videoWidth * scale, height = bare ? stage.height : video.videoHeight * scale;
    canvas.width = Math.max(1, Math.round(width));
    canvas.height = Math.max(1, Math.round(height));
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px`, left: `${(stage.width - width) / 2}px`, top: `${(stage.height - height) / 2}px` });
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = true;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
  }

  function show(on) {
    shown = on;
    box("heat-toggle").setAttribute("aria-pressed", String(on));
    paint(true);
  }

  video.addEventListener("play", () => (label(), loop()));
  video.addEventListener("pause", () => (label(), follow()));
  video.addEventListener("ended", label);
  video.addEventListener("volumechange", label);
  video.addEventListener("timeupdate", follow);
  video.addEventListener("seeked", () => {
    wait = false;
    if (Math.abs(video.currentTime - now) > 0.05) follow();
  });
  video.addEventListener("loadedmetadata", () => {
    wait = false;
    box("stage").style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
    ready();
    if (now > 0) seek(now);
  });
  video.addEventListener("error", () => {
    if (!clip || clip.player.kind === "none") return;
    off(clip.player.kind === "linked" ? `This browser cannot play ${decodeURIComponent(clip.player.src)}: the file was moved, or is of a kind that browsers do not play. --videos=embed writes it into the page in one that they do.`
      : "This browser cannot play H.264.");
  });
  video.addEventListener("click", toggle);
  box("play").addEventListener("click", toggle);
  box("sound").addEventListener("click", () => (video.muted = !video.muted));
  box("heat-toggle").addEventListener("click", () => show(!shown));
  new ResizeObserver(() => paint(true)).observe(box("stage"));

  return { open, seek, toggle, time: () => now, toggleHeat: () => heat && show(!shown), toggleSound: () => playable() && (video.muted = !video.muted) };
})();
