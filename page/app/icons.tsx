// The few pictures of the page, as strokes that take the colour of the text. They say nothing that no text beside them
// says.
import type { ComponentChildren, JSX } from 'preact';

function Icon({ children }: { readonly children: ComponentChildren }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const PictureIcon = (): JSX.Element => (
  <Icon>
    <rect x="2.5" y="3.5" width="15" height="13" rx="2" />
    <circle cx="7" cy="8" r="1.4" />
    <path d="m3 15 4.5-4 3 2.5 3-3.5 4 4.5" />
  </Icon>
);
export const SendIcon = (): JSX.Element => (
  <Icon>
    <path d="M10 16V4.500M5 9.500l5-5 5 5" />
  </Icon>
);
export const StopIcon = (): JSX.Element => (
  <Icon>
    <rect class="solid" x="5.5" y="5.5" width="9" height="9" rx="1.5" />
  </Icon>
);
export const SlidersIcon = (): JSX.Element => (
  <Icon>
    <path d="M3 6h8M15 6h2M3 14h2M9 14h8" />
    <circle cx="13" cy="6" r="2" />
    <circle cx="7" cy="14" r="2" />
  </Icon>
);
export const CloseIcon = (): JSX.Element => (
  <Icon>
    <path d="m5.5 5.5 9 9m0-9-9 9" />
  </Icon>
);
export const SunIcon = (): JSX.Element => (
  <Icon>
    <circle cx="10" cy="10" r="3.2" />
    <path d="M10 2.500v2M10 15.500v2M2.5 10h2M15.5 10h2M4.7 4.700l1.4 1.400M13.9 13.900l1.4 1.400M4.7 15.300l1.4-1.400M13.9 6.100l1.4-1.4" />
  </Icon>
);
export const MoonIcon = (): JSX.Element => (
  <Icon>
    <path d="M16.5 11.800A7 7 0 0 1 8.2 3.500a7 7 0 1 0 8.3 8.300Z" />
  </Icon>
);
export const SystemIcon = (): JSX.Element => (
  <Icon>
    <rect x="2.5" y="3.5" width="15" height="10" rx="1.5" />
    <path d="M7 16.500h6" />
  </Icon>
);
export const ChevronIcon = (): JSX.Element => (
  <Icon>
    <path d="m7.5 5 5 5-5 5" />
  </Icon>
);
/** Geese in a V: the mark of the project. */
export const Mark = (): JSX.Element => (
  <svg class="mark" viewBox="0 0 26 20" aria-hidden="true" focusable="false">
    <path d="M9.5 6.5 13 3l3.5 3.500M4.5 12 8 8.500l3.5 3.500M14.5 12 18 8.500l3.5 3.500M-.5 17.5 3 14l3.5 3.500M19.5 17.5 23 14l3.5 3.5" />
  </svg>
);
