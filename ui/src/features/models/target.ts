// What is to be assigned: an installed model, or what a download brought.

import type { InstalledModel } from "../../lib/backend/types";

export type Target = InstalledModel | { readonly model: string; readonly revision: string | null; readonly title?: string };
