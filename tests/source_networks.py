"""Networks of source_models.py. torchvision's own are built like CNN; torchvision is not needed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """torchvision.models.resnet.BasicBlock."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Any) -> Any:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class CNN(nn.Module):
    """A residual network for 16x16 images: stem with padded max-pooling, two blocks, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layers = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(32, 10)

    def forward(self, image: Any) -> Any:
        x = self.layers(self.maxpool(self.relu(self.bn1(self.conv1(image)))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class LSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 24, batch_first=True)
        self.fc = nn.Linear(24, 10)

    def forward(self, rows: Any) -> Any:
        return self.fc(self.lstm(rows)[0][:, -1])


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(8, 24)
        self.place = nn.Parameter(torch.randn(1, 8, 24) * 0.1)
        layer = nn.TransformerEncoderLayer(24, 2, 48, 0.0, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.fc = nn.Linear(24, 10)

    def forward(self, rows: Any) -> Any:
        return self.fc(self.encoder(self.embedding(rows) + self.place).mean(1))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.middle = _conv(1, 8), _conv(8, 16), _conv(16, 16)
        self.up2 = nn.ConvTranspose2d(16, 16, 2, 2)
        self.side2, self.side1 = _conv(32, 16), _conv(24, 8)
        self.up1 = nn.Upsample(scale_factor=2)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, image: Any) -> Any:
        a = self.down1(image)
        b = self.down2(F.max_pool2d(a, 2))
        x = self.up2(self.middle(F.max_pool2d(b, 2)))
        x = self.side2(torch.cat([x, b], 1))
        x = self.side1(torch.cat([self.up1(x), a], 1))
        return torch.sigmoid(self.out(x))


def _conv(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs), nn.ReLU())
