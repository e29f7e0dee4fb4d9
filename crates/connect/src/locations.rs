//! The path of each client's configuration file.

use crate::FileClient;
use std::path::{Path, PathBuf};

/// An operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Linux, and other Unix systems.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

/// The folders of a user, from the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// The home folder.
    pub home: PathBuf,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `APPDATA`, on Windows.
    pub app_data: Option<PathBuf>,
    /// `CLAUDE_CONFIG_DIR`, of Claude Code.
    pub claude_config_dir: Option<PathBuf>,
    /// `CODEX_HOME`, of Codex.
    pub codex_home: Option<PathBuf>,
}

impl Folders {
    /// The folder of the XDG Base Directory Specification, which ignores relative paths.
    fn xdg(&self) -> PathBuf {
        let set = self.xdg_config_home.clone().filter(|path| path.is_absolute());
        set.unwrap_or_else(|| self.home.join(".config"))
    }

    /// The folder for the data of Electron applications.
    fn application(&self, system: System) -> PathBuf {
        match system {
            System::Linux => self.xdg(),
            System::MacOs => self.home.join("Library/Application Support"),
            System::Windows => self.app_data.clone().unwrap_or_else(|| self.home.join("AppData/Roaming")),
        }
    }
}

/// The user's own configuration file. If there are several, the first that exists counts, else the first is created.
#[must_use]
pub fn user_files(client: FileClient, system: System, folders: &Folders) -> Vec<PathBuf> {
    let home = &folders.home;
    let file = match client {
        FileClient::ClaudeDesktop => folders.application(system).join("Claude/claude_desktop_config.json"),
        FileClient::ClaudeCode => folders.claude_config_dir.as_ref().unwrap_or(home).join(".claude.json"),
        FileClient::Cursor => home.join(".cursor/mcp.json"),
        FileClient::Vscode => folders.application(system).join("Code/User/mcp.json"),
        FileClient::Windsurf => home.join(".codeium/windsurf/mcp_config.json"),
        FileClient::Codex => folders.codex_home.clone().unwrap_or_else(|| home.join(".codex")).join("config.toml"),
        FileClient::GeminiCli => home.join(".gemini/settings.json"),
        FileClient::Opencode => return opencode(&folders.xdg().join("opencode")),
    };
    vec![file]
}

/// The configuration file of the project in `folder`, as [`user_files`]; empty if the client has none.
#[must_use]
pub fn project_files(client: FileClient, folder: &Path) -> Vec<PathBuf> {
    let file = match client {
        FileClient::ClaudeDesktop | FileClient::Windsurf => return Vec::new(),
        FileClient::ClaudeCode => ".mcp.json",
        FileClient::Cursor => ".cursor/mcp.json",
        FileClient::Vscode => ".vscode/mcp.json",
        FileClient::Codex => ".codex/config.toml",
        FileClient::GeminiCli => ".gemini/settings.json",
        FileClient::Opencode => return opencode(folder),
    };
    vec![folder.join(file)]
}

/// opencode reads both, and the first prevails.
fn opencode(folder: &Path) -> Vec<PathBuf> {
    vec![folder.join("opencode.jsonc"), folder.join("opencode.json")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileClient::{ClaudeCode, ClaudeDesktop, Codex, Cursor, GeminiCli, Opencode, Vscode, Windsurf};
    use System::{Linux, MacOs, Windows};

    fn first(client: FileClient, system: System, folders: &Folders) -> String {
        user_files(client, system, folders).first().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn files_are_where_the_clients_read_them() {
        let folders = Folders { home: "/home/ada".into(), app_data: Some("/ada/Roaming".into()), ..Folders::default() };
        for (client, system, expected) in [
            (ClaudeDesktop, Linux, "/home/ada/.config/Claude/claude_desktop_config.json"),
            (ClaudeDesktop, MacOs, "/home/ada/Library/Application Support/Claude/claude_desktop_config.json"),
            (ClaudeDesktop, Windows, "/ada/Roaming/Claude/claude_desktop_config.json"),
            (Vscode, Linux, "/home/ada/.config/Code/User/mcp.json"),
            (Vscode, MacOs, "/home/ada/Library/Application Support/Code/User/mcp.json"),
            (Vscode, Windows, "/ada/Roaming/Code/User/mcp.json"),
        ] {
            assert_eq!(first(client, system, &folders), expected);
        }
        for (client, expected) in [
            (ClaudeCode, "/home/ada/.claude.json"),
            (Cursor, "/home/ada/.cursor/mcp.json"),
            (Windsurf, "/home/ada/.codeium/windsurf/mcp_config.json"),
            (Codex, "/home/ada/.codex/config.toml"),
            (GeminiCli, "/home/ada/.gemini/settings.json"),
            (Opencode, "/home/ada/.config/opencode/opencode.jsonc"),
        ] {
            for system in [Linux, MacOs, Windows] {
                assert_eq!(first(client, system, &folders), expected, "{system:?}");
            }
        }
    }

    #[test]
    fn variables_move_the_files() {
        let mut folders = Folders {
            home: "/home/ada".into(),
            xdg_config_home: Some("/xdg".into()),
            app_data: None,
            claude_config_dir: Some("/claude".into()),
            codex_home: Some("/codex".into()),
        };
        for (client, system, expected) in [
            (ClaudeCode, Linux, "/claude/.claude.json"),
            (Codex, MacOs, "/codex/config.toml"),
            (Opencode, Windows, "/xdg/opencode/opencode.jsonc"),
            (ClaudeDesktop, Linux, "/xdg/Claude/claude_desktop_config.json"),
            (Vscode, MacOs, "/home/ada/Library/Application Support/Code/User/mcp.json"),
            (Vscode, Windows, "/home/ada/AppData/Roaming/Code/User/mcp.json"),
        ] {
            assert_eq!(first(client, system, &folders), expected);
        }
        folders.xdg_config_home = Some("relative".into());
        assert_eq!(first(Vscode, Linux, &folders), "/home/ada/.config/Code/User/mcp.json");
    }

    #[test]
    fn projects_have_files_of_their_own() {
        let folder = Path::new("/p");
        for (client, expected) in [
            (ClaudeCode, vec!["/p/.mcp.json"]),
            (Cursor, vec!["/p/.cursor/mcp.json"]),
            (Vscode, vec!["/p/.vscode/mcp.json"]),
            (Codex, vec!["/p/.codex/config.toml"]),
            (GeminiCli, vec!["/p/.gemini/settings.json"]),
            (Opencode, vec!["/p/opencode.jsonc", "/p/opencode.json"]),
            (ClaudeDesktop, vec![]),
            (Windsurf, vec![]),
        ] {
            let expected: Vec<PathBuf> = expected.into_iter().map(PathBuf::from).collect();
            assert_eq!(project_files(client, folder), expected);
        }
    }
}
