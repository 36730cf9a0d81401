// The ladder as one SVG file, and as PNG drawn from it. Colours are fixed and light: the picture goes into tickets.

import { layoutLadder, type Row } from './layout';
import type { LadderModel } from './model';
import { splitAddress } from './model';
import { offsetSeconds } from '../format';

const SVG = 'http://www.w3.org/2000/svg';
const GUTTER = 76;
const HEADER = 56;
const TITLE = 36;
const COLOURS = ['#2563c9', '#0b7a70', '#7a4fc4', '#b4580c', '#b8336a', '#3d7a1f', '#7d5a3c', '#51657a'];
const SANS = 'system-ui, sans-serif';
const MONO = 'ui-monospace, monospace';

export function ladderPicture(model: LadderModel, title: string): SVGSVGElement {
  const columnWidth = 210;
  const layout = layoutLadder(model, { width: columnWidth * Math.max(model.hosts.length, 1), minColumn: columnWidth });
  const width = GUTTER + layout.width + 16;
  const height = TITLE + HEADER + layout.height + 20;
  const svg = element('svg', { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}` });
  svg.append(element('rect', { width, height, fill: '#ffffff' }));
  svg.append(words(title, { x: 16, y: 24, 'font-size': 14, 'font-weight': 600, 'font-family': SANS, fill: '#16202a' }));

  for (const column of layout.columns) {
    const x = GUTTER + column.x;
    const { host, port } = splitAddress(column.address);
    const common = { x, 'text-anchor': 'middle', 'font-family': MONO };
    svg.append(words(host, { ...common, y: TITLE + 22, 'font-size': 12, 'font-weight': 600, fill: '#16202a' }));
    if (port) svg.append(words(`:${port}`, { ...common, y: TITLE + 38, 'font-size': 11, fill: '#4b5865' }));
    const lane = { x1: x, x2: x, y1: TITLE + HEADER - 8, y2: TITLE + HEADER + layout.height + 8, stroke: '#c7ced6' };
    svg.append(element('line', lane));
  }
  for (const row of layout.rows) svg.append(drawRow(row, model));
  return svg as SVGSVGElement;
}

function drawRow(row: Row, model: LadderModel): SVGElement {
  const group = element('g', { transform: `translate(${GUTTER} ${TITLE + HEADER + row.top})` });
  const colour = COLOURS[row.colour] ?? '#16202a';
  const { label } = row;
  const offset = model.rows[row.index]?.offsetMs ?? 0;
  group.append(
    words(offsetSeconds(offset), {
      x: -8, y: label.y + 4, 'text-anchor': 'end', 'font-size': 11, 'font-family': MONO, fill: '#4b5865',
    }),
  );
  const dashed = row.retransmission ? { 'stroke-dasharray': '4 3' } : {};
  if (row.shape === 'note') {
    group.append(element('path', { d: row.line, fill: '#ece3f8' }));
  } else {
    group.append(element('path', { d: row.line, fill: 'none', stroke: colour, 'stroke-width': 1.5, ...dashed }));
    group.append(element('polygon', { points: row.head, fill: colour }));
  }
  const halo = { stroke: '#ffffff', 'stroke-width': 4, 'paint-order': 'stroke', 'stroke-linejoin': 'round' };
  const haloed = row.shape === 'note' ? {} : halo;
  const place = { x: label.x, y: label.y, 'text-anchor': label.anchor, 'font-size': 12, 'font-family': SANS };
  group.append(words(label.text + label.detail, { ...place, ...haloed, 'font-weight': 500, fill: '#16202a' }));
  if (row.gap) {
    const middle = { x: 4, y: row.gapHeight / 2 + 6, 'font-size': 11, 'font-family': SANS, fill: '#65717d' };
    group.append(words(`${row.gap} later`, { ...middle, ...halo }));
  }
  return group;
}

/** The picture as a file that stands alone. */
export function svgFile(picture: SVGSVGElement): Blob {
  return new Blob([new XMLSerializer().serializeToString(picture)], { type: 'image/svg+xml' });
}

/** The picture as pixels, twice as fine as on the screen unless that would exceed what browsers can draw. */
export async function pngFile(picture: SVGSVGElement): Promise<Blob> {
  const width = Number(picture.getAttribute('width'));
  const height = Number(picture.getAttribute('height'));
  const scale = Math.min(2, 16_000 / Math.max(width, height));
  const url = URL.createObjectURL(svgFile(picture));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.getContext('2d')?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) => {
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('no picture'))), 'image/png');
    });
  } finally {
    URL.revokeObjectURL(url);
  }
}

function element(name: string, attributes: Record<string, string | number>): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key !== 'xmlns') made.setAttribute(key, String(value));
  }
  return made;
}

function words(text: string, attributes: Record<string, string | number>): SVGElement {
  const made = element('text', attributes);
  made.textContent = text;
  return made;
}
