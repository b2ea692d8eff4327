//! `asgard status --plot FILE`: the pools over time as a picture. With no controller running it is drawn from what the
//! last one recorded.

use std::path::Path;

use api::shapes::history::{Picture, PictureFormat, PictureRequest, PictureTheme};
use api::{ApiError, Code};
use serde_json::json;

use crate::Answer;
use crate::args::PlotArgs;
use crate::screen::Screen;
use crate::{place, reach};

pub(super) fn run(screen: Screen, file: &Path, how: &PlotArgs) -> Result<Answer, ApiError> {
    let asked = PictureRequest {
        format: format(file)?,
        pool: None,
        hours: how.hours,
        theme: if how.light { PictureTheme::Light } else { PictureTheme::Dark },
        width: 960,
        height: 300,
    };
    let picture = match super::block_on(of_the_controller(&asked))? {
        Some(picture) => picture,
        None => app::offline_picture(&place::options(place::paths(false)?, false, false)?, &asked)?,
    };
    let bytes = picture.bytes().ok_or_else(|| {
        ApiError::new(
            Code::Failed,
            "The picture that the controller sent could not be read.",
            "It may be of another version: end it (agents keep running) and start it again.",
        )
    })?;
    store::atomic::write(file, &bytes, 0o644).map_err(|error| {
        ApiError::new(
            Code::Failed,
            format!("{} could not be written: {error}.", file.display()),
            "Name a file in a folder that exists and is yours.",
        )
    })?;
    screen.document(&json!({ "file": file, "bytes": bytes.len(), "summary": picture.summary }));
    screen.say(&format!("{}\nDrawn to {}.", picture.summary, file.display()));
    Ok(Answer::Yes)
}

/// By the ending of the file's name.
fn format(file: &Path) -> Result<PictureFormat, ApiError> {
    let ending = file.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    match ending.as_deref() {
        Some("svg") => Ok(PictureFormat::Svg),
        Some("png") => Ok(PictureFormat::Png),
        _ => Err(ApiError::new(
            Code::Usage,
            format!("{} is neither a .svg nor a .png.", file.display()),
            "Name a file that ends in .svg or .png.",
        )),
    }
}

/// `None` where none runs.
async fn of_the_controller(asked: &PictureRequest) -> Result<Option<Picture>, ApiError> {
    let client = match reach::running().await {
        Ok(client) => client,
        Err(error) if error.code == Code::Unreachable => return Ok(None),
        Err(error) => return Err(error),
    };
    super::read(&client.call_value("export_picture", json!(asked)).await?).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_is_written() {
        for (name, expected) in [
            ("a.svg", Some(PictureFormat::Svg)),
            ("/tmp/b.PNG", Some(PictureFormat::Png)),
            ("c.jpg", None),
            ("svg", None),
            ("d.svg.txt", None),
        ] {
            assert_eq!(format(Path::new(name)).ok(), expected, "{name}");
        }
    }
}
