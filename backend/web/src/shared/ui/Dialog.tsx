import { createEffect, type JSX } from 'solid-js';

import './dialog.css';

export interface DialogProps {
  open: boolean;
  label: string;
  wide?: boolean;
  onClose: () => void;
  children: JSX.Element;
}

/** A modal dialog of the browser's own: it keeps the focus inside and gives it back. */
export function Dialog(props: DialogProps): JSX.Element {
  let dialog!: HTMLDialogElement;
  createEffect(() => {
    if (props.open && !dialog.open) dialog.showModal();
    else if (!props.open && dialog.open) dialog.close();
  });
  return (
    <dialog
      ref={dialog}
      class="dialog"
      classList={{ 'dialog-wide': props.wide ?? false }}
      aria-label={props.label}
      onClose={() => props.onClose()}
      onClick={(event) => {
        if (event.target === dialog) props.onClose();
      }}
    >
      {props.children}
    </dialog>
  );
}
