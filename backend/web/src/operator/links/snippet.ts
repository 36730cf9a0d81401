/** The HTML that shows a link inside another page. */
export function frameSnippet(url: string): string {
  const escaped = url.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');
  return (
    `<iframe src="${escaped}" title="Call trace" width="100%" height="720" ` +
    `loading="lazy" referrerpolicy="no-referrer" allow="clipboard-write" style="border:0"></iframe>`
  );
}
