"use strict";
// The player with the heat map and the boxes over it. Without a video the clock still moves by the timeline.
const Stage = (() => {
  const box = (id) => document.getElementById(id);
  const video = box("video"), canvas = box("heat"), frame = box("boxes"), small = document.createElement("canvas");
  let clip = null, address = "", now = 0, heat = null, boxes = null, shown = true, boxed = true, drawn = -1, wait = false, listener = () => {};

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
    boxes = clip.boxes ? { ...clip.boxes, level: bytes(clip.boxes.level), corners: new Int16Array(bytes(clip.boxes.data).buffer) } : null;
    video.pause();
    if (address) URL.revokeObjectURL(address);
    address = "";
    box("stage").classList.remove("off", "bare");
    box("stage").style.aspectRatio = "";
    box("no-video").hidden = true;
    box("heat-toggle").hidden = heat === null;
    box("boxes-toggle").hidden = boxes === null;
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

  // nothing to play: says why, and leaves room for the heat map and the boxes alone
  function off(reason) {
    box("stage").classList.add("off");
    box("no-video").textContent = reason;
    box("no-video").hidden = false;
    if (heat || boxes) {
      box("stage").classList.add("bare");
      box("stage").style.aspectRatio = boxes ? `${boxes.size[0]} / ${boxes.size[1]}` : `${heat.columns} / ${heat.rows}`;
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

  // lays a canvas over the picture itself (not over the bars beside it); its width and height in pixels
  function lay(over) {
    const stage = box("stage").getBoundingClientRect(), bare = box("stage").classList.contains("bare") || !video.videoWidth;
    const scale = bare ? 1 : Math.min(stage.width / video.videoWidth, stage.height / video.videoHeight);
    const width = bare ? stage.width : video.videoWidth * scale, height = bare ? stage.height : video.videoHeight * scale;
    over.width = Math.max(1, Math.round(width));
    over.height = Math.max(1, Math.round(height));
    Object.assign(over.style, { width: `${width}px`, height: `${height}px`, left: `${(stage.width - width) / 2}px`, top: `${(stage.height - height) / 2}px` });
  }

  function unitNow() {
    let low = 0, high = clip.start.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (clip.start[middle] <= now + 1e-6) low = middle; else high = middle - 1;
    }
    return low;
  }

  // the boxes of the unit at the cursor: the one that its score comes from thick, and in the colour of alarms inside one
  function outline() {
    frame.hidden = boxes === null || !boxed;
    if (frame.hidden) return;
    lay(frame);
    const pen = frame.getContext("2d"), unit = unitNow(), across = frame.width / boxes.size[0], down = frame.height / boxes.size[1];
    const alarm = clip.alarms.some((a) => clip.start[unit] < a.end && clip.end[unit] > a.start), chosen = boxes.highest[unit];
    const one = (i, colour, width) => {
      const [x1, y1, x2, y2] = boxes.corners.subarray(4 * i, 4 * i + 4);
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.strokeRect(x1 * across, y1 * down, (x2 - x1) * across, (y2 - y1) * down);
    };
    for (let i = boxes.first[unit]; i < boxes.first[unit + 1]; i++) if (i !== chosen) one(i, `rgba(130, 152, 184, ${0.35 + (0.5 * boxes.level[i]) / 255})`, 1);
    if (chosen >= 0) one(chosen, alarm ? "#ff8a5c" : "#ffd54a", 3);
    frame.dataset.object = chosen >= 0 ? boxes.track[chosen] : "";
  }

  // the map nearest in time
  function paint(again = false) {
    if (clip) outline();
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
    const size = heat.rows * heat.columns;
    small.width = heat.columns;
    small.height = heat.rows;
    const image = new ImageData(heat.columns, heat.rows);
    for (let i = 0; i < size; i++) {
      const value = heat.bytes[low * size + i];
      image.data.set(COLOURS[value], 4 * i);
      image.data[4 * i + 3] = box("stage").classList.contains("bare") ? 255 : Math.round(0.75 * value);
    }
    small.getContext("2d").putImageData(image, 0, 0);
    lay(canvas);
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = true;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
  }

  function show(on) {
    shown = on;
    box("heat-toggle").setAttribute("aria-pressed", String(on));
    box("boxes-toggle").setAttribute("aria-pressed", String(boxed));
    paint(true);
  }

  function showBoxes(on) {
    boxed = on;
    box("boxes-toggle").setAttribute("aria-pressed", String(on));
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
  box("boxes-toggle").addEventListener("click", () => showBoxes(!boxed));
  new ResizeObserver(() => paint(true)).observe(box("stage"));

  return { open, seek, toggle, time: () => now, toggleHeat: () => heat && show(!shown), toggleBoxes: () => boxes && showBoxes(!boxed), toggleSound: () => playable() && (video.muted = !video.muted) };
})();
