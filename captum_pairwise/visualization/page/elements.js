'use strict';
// Elements of the page, and small helpers for text.

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function pair(what, value) {
  const group = element('div', '', '');
  group.append(element('dt', '', what), element('dd', '', value));
  return group;
}

function button(className, text, act) {
  const made = element('button', className, text);
  made.type = 'button';
  made.addEventListener('click', act);
  return made;
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

/** The colours of a scale, as they are on a white photo. */
function drawScale(canvas, opacity, palette) {
  const image = new ImageData(256, 1);
  for (let k = 0; k < 256; k++) image.data.set([...blendWithWhite(colourOf(k / 127.5 - 1, 1, opacity, palette)), 255], 4 * k);
  canvas.getContext('2d').putImageData(image, 0, 0);
}

/** In a notebook, make the frame as tall as the page. */
function fitFrame(main) {
  try {
    if (window.frameElement) window.frameElement.style.height = `${main.offsetHeight + 2}px`;
  } catch {} // a frame of another origin keeps its height
}
